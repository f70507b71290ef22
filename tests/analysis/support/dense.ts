import { attentionOracle, allowedKeys } from '../../support/oracle.ts'
import { normalise, type MathOptions, type Problem } from '../../support/problem.ts'
import { exactly, offsetOf } from '../../support/score.ts'
import type { Tensor } from '../../../src/core/tensor.ts'

/** Full matrices of weights in float64, which the analysis never makes: [b][h][i][j]. */
export interface Dense {
  readonly problem: Problem
  readonly weights: readonly (readonly (readonly Float64Array[])[])[]
  /** the same for equal weights over the allowed keys */
  readonly uniform: Dense['weights']
}

export function denseWeights(inputs: { readonly query: Tensor; readonly key: Tensor }, options: MathOptions): Dense {
  const problem = normalise({ ...inputs, value: inputs.key }, options)
  const { B, H, M, N } = problem
  const { weights } = attentionOracle(problem, exactly)
  const each = (row: (b: number, h: number, i: number) => Float64Array): Dense['weights'] =>
    Array.from({ length: B }, (_, b) =>
      Array.from({ length: H }, (__, h) => Array.from({ length: M }, (___, i) => row(b, h, i))),
    )
  return {
    problem,
    weights: each((b, h, i) => weights.subarray(((b * H + h) * M + i) * N, ((b * H + h) * M + i + 1) * N)),
    uniform: each((b, h, i) => {
      const allowed = allowedKeys(problem, b, h, i)
      return new Float64Array(N).map((_, j) => (allowed.includes(j) ? 1 / allowed.length : 0))
    }),
  }
}

/** Which keys a set holds for a query: by its name, straight from the definition. */
export type Membership = (b: number, position: number, key: number) => boolean

export function positionSets(near: number): Record<string, Membership> {
  return {
    previous: (_, p, j) => j === p - 1,
    next: (_, p, j) => j === p + 1,
    self: (_, p, j) => j === p,
    first: (_, __, j) => j === 0,
    near: (_, p, j) => Math.abs(p - j) <= near,
  }
}

/** @param tokens [B, N] @param segments of keys, where there are some */
export function tokenSets(tokens: Int32Array, length: number, segments?: Int32Array): Record<string, Membership> {
  const at = (b: number, position: number): number => tokens[b * length + position] as number
  const segment = (b: number, position: number): number => segments?.[b * length + position] ?? 0
  return {
    duplicate: (b, p, j) => j < p && at(b, j) === at(b, p),
    induction: (b, p, j) => j > 0 && j <= p && segment(b, j) === segment(b, j - 1) && at(b, j - 1) === at(b, p),
  }
}

/** The mean over rows of their mass on the set, and how many rows count. */
export function denseMass(
  { problem, weights, uniform }: Dense,
  head: number,
  of: 'weights' | 'uniform',
  member: Membership,
): { readonly value: number | null; readonly rows: number } {
  const { B, M } = problem
  let [sum, rows] = [0, 0]
  for (let b = 0; b < B; b++) {
    for (let i = 0; i < M; i++) {
      const position = i + offsetOf(problem, b)
      const keys = [...uniform[b]![head]![i]!.keys()].filter(
        (j) => uniform[b]![head]![i]![j]! > 0 && member(b, position, j),
      )
      if (keys.length === 0) continue
      rows++
      const row = (of === 'weights' ? weights : uniform)[b]![head]![i]!
      for (const j of keys) sum += row[j]!
    }
  }
  return { value: rows === 0 ? null : sum / rows, rows }
}

/** Means of entropy, relative entropy, distance and largest weight over the rows that see a key. */
export function denseMeasures(
  { problem, weights, uniform }: Dense,
  head: number,
  of: 'weights' | 'uniform',
): Record<string, number> {
  const found: Record<string, number[]> = { entropy: [], relativeEntropy: [], distance: [], largest: [] }
  for (let b = 0; b < problem.B; b++) {
    for (let i = 0; i < problem.M; i++) {
      const row = (of === 'weights' ? weights : uniform)[b]![head]![i]!
      const count = uniform[b]![head]![i]!.filter((weight) => weight > 0).length
      if (count === 0) continue
      const entropy = row.reduce((sum, p) => sum - (p > 0 ? p * Math.log(p) : 0), 0)
      found['entropy']!.push(entropy)
      if (count > 1) found['relativeEntropy']!.push(entropy / Math.log(count))
      found['distance']!.push(row.reduce((sum, p, j) => sum + p * Math.abs(i + offsetOf(problem, b) - j), 0))
      found['largest']!.push(Math.max(...row))
    }
  }
  return Object.fromEntries(
    Object.entries(found).map(([name, values]) => [name, values.reduce((a, b) => a + b, 0) / values.length]),
  )
}

/** √JSD in base 2, as the mean over rows. */
export function denseDistance(
  { problem, weights }: Dense,
  one: number,
  other: number,
  rows: readonly number[],
): number {
  const bits = (p: number): number => (p > 0 ? p * Math.log2(p) : 0)
  const found: number[] = []
  for (let b = 0; b < problem.B; b++) {
    for (const i of rows) {
      const [p, q] = [weights[b]![one]![i]!, weights[b]![other]![i]!]
      if (p.every((weight) => weight === 0)) continue
      found.push(
        Math.sqrt(
          Math.max(
            0,
            p.reduce((sum, x, j) => sum + (bits(x) + bits(q[j]!)) / 2 - bits((x + q[j]!) / 2), 0),
          ),
        ),
      )
    }
  }
  return found.reduce((a, b) => a + b, 0) / found.length
}
