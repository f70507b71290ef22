import { broadcastAt, type Problem } from './problem.ts'

/** Math.fround for the plain float32 implementation, the identity for the exact one. */
export type Round = (x: number) => number

export const exactly: Round = (x) => x
export const inSingle: Round = Math.fround

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
  let sum = 0
  for (let c = 0; c < D; c++) sum = round(sum + round(query[queryStart + c]! * key[keyStart + c]!))
  return sum
}
