import type { SeedWords } from '../../core/philox.ts'
import type { Batch } from '../batch.ts'
import { permuted } from './permutation.ts'

/** A target that does not count, unless `crossEntropy` was told another. */
export const IGNORED = -100

/** One row of a batch. */
export interface TokenRow {
  readonly tokens: Int32Array
  readonly targets: Int32Array
  readonly segments?: Int32Array
  readonly positions?: Int32Array
}

/** Rows of one length as a batch [B, M]. */
export function batchOfRows(rows: readonly TokenRow[]): Batch {
  const length = rows[0]?.tokens.length ?? 0
  const tensorOf = (pick: (row: TokenRow) => Int32Array | undefined): { data: Int32Array; shape: number[] } => {
    const data = new Int32Array(rows.length * length)
    rows.forEach((row, index) => data.set(pick(row) ?? [], index * length))
    return { data, shape: [rows.length, length] }
  }
  const isPacked = rows.some(({ segments }) => segments !== undefined)
  return {
    tokens: tensorOf(({ tokens }) => tokens),
    targets: tensorOf(({ targets }) => targets),
    ...(isPacked
      ? { segments: tensorOf(({ segments }) => segments), positions: tensorOf(({ positions }) => positions) }
      : {}),
  }
}

/** Which of `size` items are in a batch of endless shuffled epochs; nothing before it needs to be known. */
export function shuffledItems(
  index: number,
  { batch, size, seed }: { readonly batch: number; readonly size: number; readonly seed: SeedWords },
): { readonly item: number; readonly epoch: number }[] {
  return Array.from({ length: batch }, (_, row) => {
    const drawn = index * batch + row
    const epoch = Math.floor(drawn / size)
    return { item: permuted(drawn % size, size, seed, epoch), epoch }
  })
}

/** All rows in order, so many per batch; the last batch may have fewer. */
export function batchesInOrder(count: number, batch: number, rowOf: (index: number) => TokenRow): Batch[] {
  return Array.from({ length: Math.ceil(count / batch) }, (_, index) => {
    const size = Math.min(batch, count - index * batch)
    return batchOfRows(Array.from({ length: size }, (_, row) => rowOf(index * batch + row)))
  })
}
