import type { TaskArray } from '../protocol/task.ts'

/** A layer whose output is so many times larger than its input is likely to be unstable: the guide's limit. */
export const NORM_RATIO_LIMIT = 10

/** What came out of a layer, against what went in. */
export interface NormEvent {
  /** the path of the layer in the model */
  readonly layer: string
  /** Euclidean norms over the whole tensor */
  readonly inputNorm: number
  /** Euclidean norm of the output */
  readonly outputNorm: number
  /** outputNorm / inputNorm */
  readonly ratio: number
  /** ratio > 10, or something in the output is not finite */
  readonly warning: boolean
  /** of the output */
  readonly mean: number
  /** of the output's elements */
  readonly standardDeviation: number
  /** the largest absolute value in the output */
  readonly largest: number
  /** elements of the output that are NaN or infinite: they are left out of the other numbers */
  readonly nonFinite: number
}

/** Statistics of a tensor's finite elements, in float64. */
export function activationStatistics(
  data: TaskArray,
): Pick<NormEvent, 'mean' | 'standardDeviation' | 'largest' | 'nonFinite'> & { readonly norm: number } {
  let [sum, squares, largest, nonFinite] = [0, 0, 0, 0]
  for (const value of data) {
    if (!Number.isFinite(value)) {
      nonFinite++
      continue
    }
    sum += value
    squares += value * value
    largest = Math.max(largest, Math.abs(value))
  }
  const count = Math.max(1, data.length - nonFinite)
  const mean = sum / count
  return {
    mean,
    standardDeviation: Math.sqrt(Math.max(0, squares / count - mean * mean)),
    largest,
    nonFinite,
    norm: Math.sqrt(squares),
  }
}

/** The event of a layer, from what went in and what came out. */
export function measureNorms(layer: string, input: TaskArray, output: TaskArray): NormEvent {
  const inputNorm = activationStatistics(input).norm
  const { norm: outputNorm, ...statistics } = activationStatistics(output)
  const ratio = inputNorm === 0 ? (outputNorm === 0 ? 1 : Infinity) : outputNorm / inputNorm
  return {
    layer,
    inputNorm,
    outputNorm,
    ratio,
    warning: ratio > NORM_RATIO_LIMIT || statistics.nonFinite > 0,
    ...statistics,
  }
}
