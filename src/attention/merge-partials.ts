import { exactExp, exactLog } from '../core/elementary.ts'
import { OptionError, ShapeError } from '../core/errors.ts'
import { checkTensor, formatShape, type Tensor } from '../core/tensor.ts'

/** The result of some rows over some keys. */
export interface Partial {
  /** [..., M, Dv], or [B, M, H·Dv] beside a logSumExp of [B, H, M] */
  readonly output: Tensor
  /** the output's shape without its last size; −∞ for a row that saw no key */
  readonly logSumExp: Tensor
}

/**
 * Attention over the union of disjoint ranges of keys, from the results over each: with L = ln Σ exp(Lₚ),
 * output = Σ exp(Lₚ − L)·outputₚ. Exact up to rounding; partials are added in the order given. Sums run in float64.
 * For causal or windowed calls a range that starts at key k₀ passes `queryOffset − k₀`.
 *
 * @param partials one or more, all of the same shapes; not changed
 * @returns new tensors, the caller's
 * @throws {ShapeError} when the shapes differ; {OptionError} when there are none
 *
 * @example
 * ```js
 * import { attention, mergePartials, tensor } from 'heddle'
 *
 * // One query over 60 keys, 30 at a time.
 * const query = tensor(Float32Array.from({ length: 16 }, (_, i) => Math.cos(i)), [1, 16])
 * const keys = (from) => tensor(Float32Array.from({ length: 30 * 16 }, (_, i) => Math.sin(from + i)), [30, 16])
 * const parts = []
 * for (const key of [keys(0), keys(480)])
 *   parts.push(await attention({ query, key, value: key }, { returnLogSumExp: true }))
 * console.log(mergePartials(parts).output.shape) // [ 1, 16 ]
 * ```
 */
export function mergePartials(partials: readonly Partial[]): Partial {
  const first = Array.isArray(partials) ? (partials as readonly Partial[])[0] : undefined
  if (first === undefined) throw new OptionError('mergePartials: expected a list of one partial or more, got none')
  partials.forEach((partial, index) => checkPartial(partial, first, index))
  const rows = first.logSumExp.data.length
  const output = new Float32Array(first.output.data.length)
  const logSumExp = new Float32Array(rows)
  const place = rowPlaces(first)
  const weights = new Float64Array(partials.length)
  for (let row = 0; row < rows; row++) {
    logSumExp[row] = mergeWeights(partials, row, weights)
    const start = place.start(row)
    for (let column = 0; column < place.columns; column++) {
      let sum = 0
      // A partial that saw no key takes no part: its output is 0 by rule, and not even a NaN of it may count.
      for (const [index, partial] of partials.entries())
        if (weights[index] !== 0) sum += (weights[index] ?? 0) * (partial.output.data[start + column] ?? 0)
      output[start + column] = sum
    }
  }
  return {
    output: { data: output, shape: first.output.shape },
    logSumExp: { data: logSumExp, shape: first.logSumExp.shape },
  }
}

/** Fills `weights` with exp(Lₚ − L) and returns L. */
function mergeWeights(partials: readonly Partial[], row: number, weights: Float64Array): number {
  let max = -Infinity
  for (const { logSumExp } of partials) {
    const value = logSumExp.data[row] ?? NaN
    if (value > max || value !== value) max = value
    if (value !== value) break
  }
  if (max === -Infinity) {
    weights.fill(0)
    return -Infinity
  }
  let sum = 0
  for (const [index, { logSumExp }] of partials.entries()) {
    const value = logSumExp.data[row] ?? NaN
    weights[index] = value === -Infinity ? 0 : exactExp(value - max)
    sum += weights[index] ?? 0
  }
  for (let index = 0; index < weights.length; index++) weights[index] = (weights[index] ?? 0) / sum
  return max + exactLog(sum)
}

/** Where the rows of log-sum-exp stand in the output: in the same order, or, for [B, M, H·Dv], heads side by side. */
function rowPlaces({ output, logSumExp }: Partial): { columns: number; start(row: number): number } {
  const rows = logSumExp.data.length
  if (output.shape.length === logSumExp.shape.length + 1) {
    const columns = rows === 0 ? 0 : output.data.length / rows
    return { columns, start: (row) => row * columns }
  }
  const [, heads = 1, queries = 1] = logSumExp.shape
  const columns = rows === 0 ? 0 : output.data.length / rows
  return {
    columns,
    start: (row) => {
      const query = row % queries
      const head = Math.floor(row / queries) % heads
      const batch = Math.floor(row / (queries * heads))
      return ((batch * queries + query) * heads + head) * columns
    },
  }
}

function checkPartial(partial: Partial, first: Partial, index: number): void {
  checkTensor(`mergePartials: output of partial ${index}`, Float32Array, (partial as Partial | null)?.output)
  checkTensor(`mergePartials: logSumExp of partial ${index}`, Float32Array, (partial as Partial | null)?.logSumExp)
  const { output, logSumExp } = partial
  const plain =
    output.shape.length === logSumExp.shape.length + 1 &&
    logSumExp.shape.every((size, axis) => size === output.shape[axis])
  const packed =
    output.shape.length === 3 &&
    logSumExp.shape.length === 3 &&
    output.shape[0] === logSumExp.shape[0] &&
    output.shape[1] === logSumExp.shape[2] &&
    (output.shape[2] ?? 0) % Math.max(1, logSumExp.shape[1] ?? 1) === 0
  if (!plain && !packed) {
    throw new ShapeError(
      `mergePartials: expected partial ${index} with a logSumExp of the output's shape without its last size, got output ${formatShape(output.shape)} and logSumExp ${formatShape(logSumExp.shape)}`,
    )
  }
  const same = (a: readonly number[], b: readonly number[]): boolean =>
    a.length === b.length && a.every((size, axis) => size === b[axis])
  if (!same(output.shape, first.output.shape) || !same(logSumExp.shape, first.logSumExp.shape)) {
    throw new ShapeError(
      `mergePartials: expected partial ${index} of the first one's shapes ${formatShape(first.output.shape)} and ${formatShape(first.logSumExp.shape)}, got ${formatShape(output.shape)} and ${formatShape(logSumExp.shape)}`,
    )
  }
}
