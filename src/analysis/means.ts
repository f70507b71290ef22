import { NumericError } from '../core/errors.ts'
import type { PacedLoop } from '../train/paced-loop.ts'

/** A mean for each head, over the rows that count. */
export interface HeadMeans {
  readonly means: readonly (number | null)[]
  readonly rows: readonly number[]
}

/** What rows [B, H, M] have to do with each other: which of their places belongs to which head. */
export interface RowSizes {
  readonly batch: number
  readonly heads: number
  readonly queries: number
}

/**
 * The mean over rows for each head, in float64, in the order of the rows.
 *
 * @param valueOf a row's value by its place in [B, H, M], and by that in [B, M] for arrays that hold one row for all
 *   heads; null leaves the row out
 * @throws {NumericError} where a value is NaN
 */
export async function headMeans(
  what: string,
  { batch, heads, queries }: RowSizes,
  loop: PacedLoop,
  valueOf: (place: number, shared: number) => number | null,
): Promise<HeadMeans> {
  const sums = new Float64Array(heads)
  const rows = new Array<number>(heads).fill(0)
  await loop.run(batch * heads * queries, (start, end) => {
    for (let place = start; place < end;) {
      const group = Math.floor(place / queries)
      const head = group % heads
      const shift = (Math.floor(group / heads) - group) * queries
      for (const stop = Math.min(end, (group + 1) * queries); place < stop; place++) {
        const value = valueOf(place, place + shift)
        if (value === null) continue
        sums[head] = (sums[head] as number) + value
        rows[head] = (rows[head] as number) + 1
      }
    }
  })
  const bad = sums.findIndex((sum) => Number.isNaN(sum))
  if (bad >= 0)
    throw new NumericError(`${what}: expected weights that are numbers, got NaN in head ${bad}`, {
      details: { head: bad },
    })
  return { means: rows.map((count, head) => (count === 0 ? null : (sums[head] as number) / count)), rows }
}

/** exp(part − whole): the share of a sum that is part of it, kept within [0, 1] where rounding leaves it. */
export function shareOf(part: number, whole: number): number {
  return Math.min(1, Math.exp(part - whole))
}
