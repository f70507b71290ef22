import { OptionError, ShapeError } from '../core/errors.ts'
import { checkTensor, formatShape, type Tensor } from '../core/tensor.ts'
import { mergeRows } from './merge-rows.ts'

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
  const { columns, start } = rowPlaces(first)
  const rows = partials.map(({ output, logSumExp }) => ({ output: output.data, logSumExp: logSumExp.data }))
  const merged = mergeRows(rows, columns, start)
  return {
    output: { data: merged.output, shape: first.output.shape },
    logSumExp: { data: merged.logSumExp, shape: first.logSumExp.shape },
  }
}

/** Where the rows of log-sum-exp stand in the output: in the same order, or, for [B, M, H·Dv], heads side by side. */
function rowPlaces({ output, logSumExp }: Partial): { columns: number; start: (row: number) => number } {
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
