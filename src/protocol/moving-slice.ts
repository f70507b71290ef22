import type { Chunk } from './chunk.ts'
import type { HeadSlice, RowRun } from './stage.ts'
import type { Slice } from './task.ts'

/** How a part of a tensor moves with the chunk: it starts at `offset + batch·batchStride + rowStart·startStride`. */
export interface Motion {
  readonly batchStride: number
  readonly startStride: number
}

/** Of what is at the same place for every chunk. */
export const STILL: Motion = { batchStride: 0, startStride: 0 }

export type MovingSlice = Slice & Motion
export type MovingHeads = HeadSlice & Motion
/** Rows of heads whose columns may be broadcast, as a mask's. */
export type MovingScores = MovingHeads & { readonly columnStride: number }

/** The rows of one head, from row `row` of one batch on. */
export function ofHead(
  { array, offset, batchStride = 0, headStride, rowStride, startStride }: MovingHeads,
  head: number,
  { batch, row }: Pick<RowRun, 'batch' | 'row'>,
): Slice {
  return { array, offset: offset + batch * batchStride + head * headStride + row * startStride, rowStride }
}

/** The same of scores. */
export function scoresOfHead(slice: MovingScores, head: number, run: Pick<RowRun, 'batch' | 'row'>): Slice {
  return { ...ofHead(slice, head, run), columnStride: slice.columnStride }
}

export function placed(
  { array, offset, rowStride, columnStride = 1, batchStride, startStride }: MovingSlice,
  at: Chunk | Pick<RowRun, 'batch' | 'row'>,
): Slice {
  const row = 'row' in at ? at.row : at.rowStart
  return { array, offset: offset + at.batch * batchStride + row * startStride, rowStride, columnStride }
}
