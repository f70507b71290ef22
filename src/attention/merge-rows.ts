import { exactExp, exactLog } from '../core/elementary.ts'

/** What some keys make of rows. */
export interface PartialRows {
  /** a row of some columns for each entry of `logSumExp` */
  readonly output: Float32Array
  /** −∞ for a row that saw no key */
  readonly logSumExp: Float32Array
}

/**
 * The rows over the union of disjoint ranges of keys, as `mergePartials` says. Nothing is checked.
 *
 * @param partials one or more, in the order in which they are added
 * @param startOf where a row of the output begins
 * @returns new arrays, the caller's
 */
export function mergeRows(
  partials: readonly PartialRows[],
  columns: number,
  startOf = (row: number): number => row * columns,
): PartialRows {
  const [first] = partials
  const logSumExp = new Float32Array(first?.logSumExp.length ?? 0)
  const output = new Float32Array(first?.output.length ?? 0)
  const weights = new Float64Array(partials.length)
  for (let row = 0; row < logSumExp.length; row++) {
    logSumExp[row] = mergeWeights(partials, row, weights)
    const start = startOf(row)
    for (let column = 0; column < columns; column++) {
      let sum = 0
      // A partial that saw no key takes no part: its output is 0 by rule, and not even a NaN of it may count.
      for (const [index, partial] of partials.entries())
        if (weights[index] !== 0) sum += (weights[index] ?? 0) * (partial.output[start + column] ?? 0)
      output[start + column] = sum
    }
  }
  return { output, logSumExp }
}

/** Fills `weights` with exp(Lₚ − L) and returns L. */
function mergeWeights(partials: readonly PartialRows[], row: number, weights: Float64Array): number {
  let max = -Infinity
  for (const { logSumExp } of partials) {
    const value = logSumExp[row] ?? NaN
    if (value > max || value !== value) max = value
    if (value !== value) break
  }
  if (max === -Infinity) {
    weights.fill(0)
    return -Infinity
  }
  let sum = 0
  for (const [index, { logSumExp }] of partials.entries()) {
    const value = logSumExp[row] ?? NaN
    weights[index] = value === -Infinity ? 0 : exactExp(value - max)
    sum += weights[index] ?? 0
  }
  for (let index = 0; index < weights.length; index++) weights[index] = (weights[index] ?? 0) / sum
  return max + exactLog(sum)
}
