import { broadcastAt, type Problem } from './problem.ts'

/** Math.fround for the plain float32 implementation, the identity for the exact one. */
export type Round = (x: number) => number

export const exactly: Round = (x) => x
export const inSingle: Round = Math.fround

/** Numbers that follow each other in an array, from `at` on. */
export interface Stretch {
  readonly data: Float32Array | Float64Array
  readonly at: number
}

/**
 * `dot` is Σ x·y, `addScaled` into += factor·x, rounded after each product and each sum. The loops of a rounding stand
 * apart from those of the exact numbers: a call for each number, of one function or another, would take most of the
 * time of these tests.
 */
export function rounded(round: Round): {
  readonly dot: (x: Stretch, y: Stretch, count: number) => number
  readonly addScaled: (into: Stretch, factor: number, x: Stretch, count: number) => void
} {
  return round === exactly ? EXACT : SINGLE
}

const EXACT: ReturnType<typeof rounded> = {
  dot: ({ data: x, at: xAt }, { data: y, at: yAt }, count) => {
    let sum = 0
    for (let c = 0; c < count; c++) sum += x[xAt + c]! * y[yAt + c]!
    return sum
  },
  addScaled: ({ data: into, at: intoAt }, factor, { data: x, at: xAt }, count) => {
    for (let c = 0; c < count; c++) into[intoAt + c]! += factor * x[xAt + c]!
  },
}

const SINGLE: ReturnType<typeof rounded> = {
  dot: ({ data: x, at: xAt }, { data: y, at: yAt }, count) => {
    let sum = 0
    for (let c = 0; c < count; c++) sum = Math.fround(sum + Math.fround(x[xAt + c]! * y[yAt + c]!))
    return sum
  },
  addScaled: ({ data: into, at: intoAt }, factor, { data: x, at: xAt }, count) => {
    for (let c = 0; c < count; c++)
      into[intoAt + c] = Math.fround(into[intoAt + c]! + Math.fround(factor * x[xAt + c]!))
  },
}

export function offsetOf({ options }: Problem, b: number): number {
  return typeof options.queryOffset === 'object' ? options.queryOffset[b]! : (options.queryOffset ?? 0)
}

/** Whether query i of (b, h) may attend to key j. */
export function isAllowed(problem: Problem, b: number, h: number, i: number, j: number): boolean {
  const { mask, bias, causal, window, segments, keyLengths } = problem.options
  const position = i + offsetOf(problem, b)
  if (causal && j > position) return false
  if (window && (j < position - (window.before ?? Infinity) || j > position + (window.after ?? Infinity))) return false
  if (mask && broadcastAt(problem, mask, [b, h, i, j]) === 0) return false
  if (bias && broadcastAt(problem, bias, [b, h, i, j]) === -Infinity) return false
  if (segments && segments.query.data[b * problem.M + i] !== segments.key.data[b * problem.N + j]) return false
  return !(keyLengths && j >= keyLengths[b]!)
}

/** The score of query i and key j: scale → softcap → + bias → ALiBi. */
export function scoreOf(problem: Problem, b: number, h: number, i: number, j: number, round: Round): number {
  const { D } = problem
  const { bias, alibiSlopes, softcap = 0, scale = 1 / Math.sqrt(D) } = problem.options
  let score = round(round(scale) * dotOf(problem, b, h, i, j, round))
  if (softcap > 0) score = round(round(softcap) * round(Math.tanh(round(score / round(softcap)))))
  if (bias) score = round(score + broadcastAt(problem, bias, [b, h, i, j]))
  if (alibiSlopes) {
    const slope = alibiSlopes[alibiSlopes.length === problem.H ? h : b * problem.H + h]!
    score = round(score - round(slope * Math.abs(i + offsetOf(problem, b) - j)))
  }
  return score
}

/** q·k, before any scale. */
export function dotOf(
  { H, Hkv, M, N, D, query, key }: Problem,
  b: number,
  h: number,
  i: number,
  j: number,
  round: Round,
): number {
  const group = Math.floor((h * Hkv) / H)
  const queryStart = ((b * H + h) * M + i) * D
  const keyStart = ((b * Hkv + group) * N + j) * D
  return rounded(round).dot({ data: query, at: queryStart }, { data: key, at: keyStart }, D)
}
