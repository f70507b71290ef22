import { inLayout, normalise, rowShape, type AttentionInputs, type MathOptions, type Problem } from './problem.ts'
import { keepMask } from './philox.ts'
import { exactly, inSingle, isAllowed, offsetOf, rounded, scoreOf, type Round } from './score.ts'

/** What a plain implementation gives: every array dense, the weights before dropout. */
export interface OracleResult {
  /** in the query's layout */
  readonly output: Float64Array
  /** [B, H, M, N] */
  readonly weights: Float64Array
  /** [B, H, M], like the statistics */
  readonly logSumExp: Float64Array
  readonly entropy: Float64Array
  readonly maxWeight: Float64Array
  readonly maxIndex: Int32Array
  readonly meanDistance: Float64Array
}

/** A float64 result and the same algorithm in float32: the pair that the error rule needs. */
export interface Reference {
  readonly exact: Float64Array
  readonly plain: Float64Array
  readonly shape: readonly number[]
}

export interface AttentionReference {
  readonly problem: Problem
  readonly output: Reference
  readonly weights: Reference
  readonly logSumExp: Reference
  readonly entropy: Reference
  readonly maxWeight: Reference
  readonly meanDistance: Reference
  readonly maxIndex: { readonly exact: Int32Array; readonly shape: readonly number[] }
}

/** softmax(scale·Q·Kᵀ …)·V with every option, row by row, in float64 and in float32. */
export function attentionReference(inputs: AttentionInputs, options: MathOptions = {}): AttentionReference {
  const problem = normalise(inputs, options)
  const exact = attentionOracle(problem, exactly)
  const plain = attentionOracle(problem, inSingle)
  const rows = rowShape(problem)
  const pair = (
    name: 'weights' | 'logSumExp' | 'entropy' | 'maxWeight' | 'meanDistance',
    shape: readonly number[],
  ) => ({ exact: exact[name], plain: plain[name], shape })
  return {
    problem,
    output: {
      exact: exact.output,
      plain: plain.output,
      shape: inLayout(problem, exact.output, problem.H, problem.M, problem.Dv).shape,
    },
    weights: pair('weights', [...rows, problem.N]),
    logSumExp: pair('logSumExp', rows),
    entropy: pair('entropy', rows),
    maxWeight: pair('maxWeight', rows),
    meanDistance: pair('meanDistance', rows),
    maxIndex: { exact: exact.maxIndex, shape: rows },
  }
}

export function attentionOracle(problem: Problem, round: Round): OracleResult {
  const { B, H, M, N, Dv } = problem
  const rows = B * H * M
  const dense = new Float64Array(rows * Dv)
  const result = {
    weights: new Float64Array(rows * N),
    logSumExp: new Float64Array(rows),
    entropy: new Float64Array(rows),
    maxWeight: new Float64Array(rows),
    maxIndex: new Int32Array(rows),
    meanDistance: new Float64Array(rows),
  }
  for (let row = 0; row < rows; row++) {
    const [b, h, i] = [Math.floor(row / (H * M)), Math.floor(row / M) % H, row % M]
    const allowed = allowedKeys(problem, b, h, i)
    const weights = result.weights.subarray(row * N, (row + 1) * N)
    result.logSumExp[row] = softmaxInto(weights, allowed, (j) => scoreOf(problem, b, h, i, j, round), round)
    weigh(problem, b, h, i, allowed, weights, dense.subarray(row * Dv, (row + 1) * Dv), round)
    const statistics = rowStatistics(weights, allowed, i + offsetOf(problem, b), round)
    result.entropy[row] = statistics.entropy
    result.maxWeight[row] = statistics.maxWeight
    result.maxIndex[row] = statistics.maxIndex
    result.meanDistance[row] = statistics.meanDistance
  }
  return { ...result, output: inLayout(problem, dense, H, M, Dv).data }
}

/** Keys that query i of (b, h) may attend to, ascending. */
export function allowedKeys(problem: Problem, b: number, h: number, i: number): number[] {
  const allowed: number[] = []
  for (let j = 0; j < problem.N; j++) if (isAllowed(problem, b, h, i, j)) allowed.push(j)
  return allowed
}

/** Softmax over the allowed keys, 0 elsewhere; returns the log-sum-exp, −∞ where no key is allowed. */
function softmaxInto(
  weights: Float64Array,
  allowed: readonly number[],
  score: (j: number) => number,
  round: Round,
): number {
  if (allowed.length === 0) return -Infinity
  const scores = allowed.map(score)
  const largest = scores.reduce((a, b) => Math.max(a, b), -Infinity)
  let sum = 0
  allowed.forEach((j, at) => {
    weights[j] = round(Math.exp(round(scores[at]! - largest)))
    sum = round(sum + weights[j])
  })
  for (const j of allowed) weights[j] = round(weights[j]! / sum)
  return round(largest + round(Math.log(sum)))
}

/** output = Σ dropout(weight)·value over the allowed keys. */
function weigh(
  problem: Problem,
  b: number,
  h: number,
  i: number,
  allowed: readonly number[],
  weights: Float64Array,
  output: Float64Array,
  round: Round,
): void {
  const {
    H,
    Hkv,
    N,
    Dv,
    value,
    options: { dropout },
  } = problem
  const { addScaled } = rounded(round)
  const start = (b * Hkv + Math.floor((h * Hkv) / H)) * N * Dv
  const keep = dropout && keepMask(dropout.seed, dropout.probability, b * H + h, i, N)
  for (const j of allowed) {
    if (keep && !keep[j]) continue
    const weight = dropout ? round(weights[j]! / round(1 - dropout.probability)) : weights[j]!
    addScaled({ data: output, at: 0 }, weight, { data: value, at: start + j * Dv }, Dv)
  }
}

/** Entropy in nats, the largest weight and where (lowest key on ties), and the mean of |position − j|. */
function rowStatistics(weights: Float64Array, allowed: readonly number[], position: number, round: Round) {
  let entropy = 0
  let meanDistance = 0
  let maxIndex = -1
  let maxWeight = 0
  for (const j of allowed) {
    const weight = weights[j]!
    if (weight !== 0) entropy = round(entropy - round(weight * round(Math.log(weight))))
    meanDistance = round(meanDistance + round(weight * Math.abs(position - j)))
    if (maxIndex < 0 || weight > maxWeight) [maxIndex, maxWeight] = [j, weight]
  }
  return { entropy, maxWeight, maxIndex, meanDistance }
}
