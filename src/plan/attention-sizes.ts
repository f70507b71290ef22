import { checkedProduct } from '../core/integers.ts'
import { keysSeenFrom, type PositionRule } from './visibility.ts'

/** The sizes of a call, whatever the layout of its tensors. */
export interface AttentionSizes {
  /** B */
  readonly batch: number
  /** H, of the query */
  readonly heads: number
  /** Hkv, of key and value; divides H */
  readonly keyValueHeads: number
  /** M */
  readonly queries: number
  /** N */
  readonly keys: number
  /** D */
  readonly headSize: number
  /** Dv */
  readonly valueSize: number
}

/** Which keys a query may see by position alone: the part of the options that plans need. */
export interface Visibility extends PositionRule {
  /** one per batch, or a single one for all */
  readonly queryOffset: readonly number[]
  /** one per batch, or a single one for all; N where there is no limit */
  readonly keyLength: readonly number[]
}

/** The elements of [B, H, M, N]. @throws {ShapeError} past 2⁵³ − 1 */
export function scoreCount({ batch, heads, queries, keys }: AttentionSizes): number {
  return checkedProduct([batch, heads, queries, keys], 'attention: batch × heads × queries × keys')
}

/** The value of a batch in a list that holds one per batch, or a single one for all. */
export function ofBatch(values: readonly number[], batch: number): number {
  return values[batch] ?? values[0] ?? 0
}

/** How many keys query `row` may see, by position alone. */
export function visibleKeys(row: number, batch: number, see: Visibility): number {
  const { start, end } = keysSeenFrom(row + ofBatch(see.queryOffset, batch), see, ofBatch(see.keyLength, batch))
  return Math.max(0, end - start)
}

/** Multiply-adds of the visible pairs, each counted as two operations. */
export function attentionFlops(sizes: AttentionSizes, see: Visibility): number {
  const alike = see.queryOffset.length <= 1 && see.keyLength.length <= 1
  let pairs = 0
  for (let b = 0; b < (alike ? Math.min(1, sizes.batch) : sizes.batch); b++)
    pairs += visiblePairs(0, sizes.queries, b, see) * sizes.heads
  if (alike) pairs *= sizes.batch
  return pairs * 2 * (sizes.headSize + sizes.valueSize)
}

/**
 * (query, key) pairs that rows [rowStart, rowStart + rows) see: exact where the count is linear in the row, else near.
 */
export function visiblePairs(rowStart: number, rows: number, batch: number, see: Visibility): number {
  const steps = Math.min(rows, 16)
  let sum = 0
  for (let step = 0; step < steps; step++) {
    // The middle of each of equal parts: exact for linear pieces.
    sum += visibleKeys(rowStart + ((step + 0.5) * rows) / steps - 0.5, batch, see)
  }
  return (sum * rows) / Math.max(1, steps)
}
