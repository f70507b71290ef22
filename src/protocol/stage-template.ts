import type { HeadSlice, RowStageTask, RowStep } from './stage.ts'
import type { AttentionSettings, RowResultName, Slice } from './task.ts'

/** How a part of a tensor moves with the chunk: it starts at `offset + batch·batchStride + rowStart·startStride`. */
export interface Motion {
  readonly batchStride: number
  readonly startStride: number
}

/** Of what stands at the same place for every chunk. */
export const STILL: Motion = { batchStride: 0, startStride: 0 }

export type MovingSlice = Slice & Motion
export type MovingHeads = HeadSlice & Motion
/** Rows of heads whose columns may be broadcast, as a mask's. */
export type MovingScores = MovingHeads & { readonly columnStride: number }

/** Attention as the first part of a stage, for any chunk of it. */
export interface AttentionTemplate {
  readonly settings: AttentionSettings
  /** N: the first rows of key and value that count */
  readonly keys: number
  /** H·Dv */
  readonly width: number
  /** one entry per batch, or a single entry for all of them; `queryOffset` works the same way */
  readonly keyLength: readonly number[]
  readonly queryOffset: readonly number[]
  /** [H] or [B·H]: head h of batch b has slope (b·H + h) mod length */
  readonly alibiSlopes: Float32Array | null
  readonly querySegments: MovingSlice | null
  readonly keySegments: MovingSlice | null
  /** H and Hkv */
  readonly heads: number
  readonly keyHeads: number
  readonly query: MovingHeads
  readonly key: MovingHeads
  readonly value: MovingHeads
  readonly mask: MovingScores | null
  readonly bias: MovingScores | null
  /** results beside the output; where not in place, chunk by chunk dense [H, rows, columns] */
  readonly results: readonly AttentionResultTemplate[]
  /**
   * rows whose weights are wanted, ascending, and of which heads; null where `results` has no weights, or those of
   * every row
   */
  readonly chosen: { readonly rows: readonly number[]; readonly heads: readonly number[] } | null
}

export interface AttentionResultTemplate {
  readonly name: RowResultName | 'weights'
  /** 1, or N of weights */
  readonly columns: number
  readonly to: MovingHeads | 'returned'
}

/** What a stage does to any chunk of its rows: a task of it is this and three numbers. */
export interface StageTemplate extends Pick<
  RowStageTask,
  'registers' | 'registerBytes' | 'residentLimitBytes' | 'withoutGpu'
> {
  /** M: where a chunk's rows end and those of the next batch begin */
  readonly sequence: number
  readonly attention: AttentionTemplate | null
  readonly steps: readonly RowStep<MovingSlice, MovingHeads>[]
}
