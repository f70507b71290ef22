import type { SlabSlice } from './stage.ts'
import type { ArrayId, Slice } from './task.ts'

/**
 * Sums over rows, which become the gradients of parameters. A task owns the elements that it adds to: lanes divide the
 * elements among themselves, never the rows, and add row after row, so that no bit depends on who did what.
 */
export type SumTask =
  /** sums[o][i] += Σ_r dy[r][o]·x[r][i] over the rows of a slab */
  | {
      readonly op: 'outer'
      /** dy in panels of 4 columns, from the first of `outSize` on */
      readonly quads: SlabSlice
      /** x in panels of 8 columns */
      readonly panels: SlabSlice
      readonly outSize: number
      readonly inSize: number
      /** [outSize, inSize] */
      readonly sums: Slice
    }
  /** sums[c] += Σ over the tiles of a slab, each a row of [tiles, width] */
  | { readonly op: 'columns'; readonly partials: SlabSlice; readonly width: number; readonly sums: Slice }
  /** sums[token of row r][c] += scale·values[r][c], for the columns [columnStart, columnEnd) */
  | {
      readonly op: 'table'
      /** Int32 [rows], or by position: the row r of a sequence goes to row `position` + r */
      readonly tokens: Slice | { readonly sequence: number; readonly position: number }
      readonly values: Slice
      readonly columnStart: number
      readonly columnEnd: number
      readonly scale: number
      readonly sums: Slice
    }

/** A task and the rows that it is over. */
export interface SumWork {
  readonly kind: 'sums'
  readonly task: SumTask
  readonly rows: number
  /** bytes of scratch that the lane sets aside, as for stages */
  readonly scratchBytes: number
}

export interface SumResult {
  readonly elapsedMs: number
}

/** Names the arrays that a lane makes for a run that it does alone. */
export interface LaneArray {
  readonly id: ArrayId
  readonly length: number
  readonly integers: boolean
}
