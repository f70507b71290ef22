import type { AttentionSizes } from '../plan/attention-sizes.ts'
import type { PacedLoop } from '../train/paced-loop.ts'
import type { HeadDivergence } from './report.ts'
import type { Summary } from './summary.ts'

const MOST_ROWS = 16
/** Logarithms that comparing heads may take: a second or less. */
const MOST_TERMS = 2 ** 25

/** The rows on which heads are compared, evenly spaced over the sequence. @param wanted null: chosen by the work */
export function divergenceRows({ batch, heads, queries, keys }: AttentionSizes, wanted: number | null): number[] {
  if (heads < 2 || queries === 0) return []
  const terms = Math.max(1, batch * keys * ((heads * (heads - 1)) / 2))
  const count = Math.min(queries, wanted ?? Math.min(MOST_ROWS, Math.max(1, Math.floor(MOST_TERMS / terms))))
  return Array.from({ length: count }, (_, index) => Math.floor(((index + 0.5) * queries) / count))
}

/**
 * The Jensen–Shannon distance √JSD between the weights p and q of every two heads, with
 * JSD = Σ ½p·log₂ p + ½q·log₂ q − m·log₂ m and m = (p + q)/2 (Lin 1991; Endres and Schindelin 2003: its root is a
 * metric), as a mean over the chosen rows of all sequences. 0: the same weights; 1: weights on different keys.
 *
 * @param places of the chosen rows among those of `weights` [B, H, R, N]
 */
export async function divergenceOf(
  { weights }: Summary,
  { batch, heads, keys }: AttentionSizes,
  weightRows: readonly number[],
  rows: readonly number[],
  loop: PacedLoop,
): Promise<HeadDivergence> {
  const places = rows.map((row) => weightRows.indexOf(row))
  const sums = Array.from({ length: heads }, () => new Float64Array(heads))
  let counted = 0
  for (let b = 0; b < batch; b++) {
    for (const place of places) {
      const own = Array.from({ length: heads }, (_, head) => {
        const start = ((b * heads + head) * weightRows.length + place) * keys
        return weights.subarray(start, start + keys)
      })
      if (own[0]?.every((weight) => weight === 0)) continue
      counted++
      await addDistances(sums, own, loop)
    }
  }
  const at = (one: number, other: number): number =>
    one === other || counted === 0 ? 0 : (sums[Math.min(one, other)]?.[Math.max(one, other)] ?? 0) / counted
  return { rows, distances: sums.map((_, one) => sums.map((__, other) => at(one, other))) }
}

/** Adds √JSD of every two rows. @param rows of weights, one per head */
async function addDistances(
  sums: readonly Float64Array[],
  rows: readonly Float32Array[],
  loop: PacedLoop,
): Promise<void> {
  const terms: number[] = []
  for (const row of rows) terms.push(await sumOfLogs(row, row, loop))
  for (const [one, p] of rows.entries()) {
    for (let other = one + 1; other < rows.length; other++) {
      const mixed = await sumOfLogs(p, rows[other] as Float32Array, loop)
      const divergence = ((terms[one] as number) + (terms[other] as number)) / 2 - mixed
      const sum = sums[one] as Float64Array
      sum[other] = (sum[other] as number) + Math.sqrt(Math.min(1, Math.max(0, divergence / Math.LN2)))
    }
  }
}

/** Σ m·ln m with m = (p + q)/2; keys that neither sees add nothing. */
async function sumOfLogs(p: Float32Array, q: Float32Array, loop: PacedLoop): Promise<number> {
  let sum = 0
  await loop.run(p.length, (start, end) => {
    for (let key = start; key < end; key++) {
      const mean = ((p[key] as number) + (q[key] as number)) / 2
      if (mean > 0) sum += mean * Math.log(mean)
    }
  })
  return sum
}
