import type { HeadInputs } from './head-inputs.ts'
import type { MovingHeads, MovingSlice } from './moving-slice.ts'
import type { RowStageTask, RowStep } from './stage.ts'
import type { RowResultName } from './task.ts'

/** Attention as the first part of a stage, for any chunk of it. */
export interface AttentionTemplate extends HeadInputs {
  /** H·Dv */
  readonly width: number
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
