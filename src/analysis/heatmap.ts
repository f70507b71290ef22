import type { PacedLoop } from '../train/paced-loop.ts'
import type { AttentionSizes } from '../plan/attention-sizes.ts'
import type { AttentionAnalysis, Bucket, KeyShare, KeyShares } from './report.ts'
import { bucketStart, type Summary } from './summary.ts'

/** How many of the largest shares are named. */
const NAMED_KEYS = 8

/** `count` buckets of positions, as even as whole positions allow. */
export function bucketsOf(count: number, size: number, labels: readonly string[] | null): Bucket[] {
  return Array.from({ length: count }, (_, index) => {
    const start = bucketStart(index, count, size)
    return { start, end: bucketStart(index + 1, count, size), label: labels?.[start] ?? null }
  })
}

/**
 * The heatmap of each head for one sequence: the mean over the rows of a query bucket of their mass on a key bucket.
 * Rows that see no key are left out.
 */
export async function heatmapsOf(
  { masses, logSumExp }: Summary,
  { heads, queries }: AttentionSizes,
  axes: AttentionAnalysis['axes'],
  loop: PacedLoop,
): Promise<number[][][]> {
  const { sequence, queries: rows, keys: columns } = axes
  const width = columns.length
  const maps: number[][][] = []
  for (let head = 0; head < heads; head++) {
    const first = (sequence * heads + head) * queries
    const map: number[][] = []
    for (const { start, end } of rows) {
      const sums = new Float64Array(width)
      let counted = 0
      for (let row = first + start; row < first + end; row++) if (logSumExp[row] !== -Infinity) counted++
      await loop.run((end - start) * width, (from, to) => {
        for (let at = from; at < to; at++)
          sums[at % width] = (sums[at % width] as number) + (masses[(first + start) * width + at] as number)
      })
      map.push(Array.from(sums, (sum) => (counted === 0 ? 0 : sum / counted)))
    }
    maps.push(map)
  }
  return maps
}

/** Shares of keys out of amounts that need not add up to 1. @param amountOf of a key */
export async function sharesOf(
  keys: number,
  columns: readonly Bucket[],
  labels: readonly string[] | null,
  loop: PacedLoop,
  amountOf: (key: number) => number,
): Promise<KeyShares> {
  const amounts = new Float64Array(keys)
  let total = 0
  await loop.run(keys, (start, end) => {
    for (let key = start; key < end; key++) {
      amounts[key] = amountOf(key)
      total += amounts[key] as number
    }
  })
  const share = (amount: number): number => (total === 0 ? 0 : amount / total)
  const buckets = columns.map(({ start, end }) =>
    share(amounts.subarray(start, end).reduce((sum, amount) => sum + amount, 0)),
  )
  const largest = largestKeys(amounts).map((key): KeyShare => ({
    key,
    label: labels?.[key] ?? null,
    share: share(amounts[key] as number),
  }))
  return { buckets, largest }
}

/** The keys with the largest amounts, the lower key first on ties. */
function largestKeys(amounts: Float64Array): number[] {
  const kept: number[] = []
  amounts.forEach((amount, key) => {
    if (kept.length === NAMED_KEYS && amount <= (amounts[kept.at(-1) as number] as number)) return
    const place = kept.findIndex((other) => amount > (amounts[other] as number))
    kept.splice(place < 0 ? kept.length : place, 0, key)
    if (kept.length > NAMED_KEYS) kept.pop()
  })
  return kept
}
