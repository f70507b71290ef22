import type { ArrayId, AttentionTask, Slice } from './task.ts'

/**
 * A stage: row-wise operations that a lane applies to one chunk of rows without going back to the scheduler. The lane works
 * on a few rows at once (a tile), in registers: row buffers of a fixed width that live for one tile. Only what a `store` or
 * `project` step names leaves the lane.
 */

/** Index into a task's `registers`. */
export type Register = number

/**
 * A weight matrix [outSize, inSize] (row-major, PyTorch's layout), or a vector (outSize elements, inSize 1). A lane packs it
 * when it first meets it and keeps it until it meets another version, or must make room.
 */
export interface ResidentWeight {
  /** the parameter's own number: never used twice in a process */
  readonly parameter: number
  readonly version: number
  readonly array: ArrayId
  readonly offset: number
  readonly outSize: number
  readonly inSize: number
}

export type Activation = 'relu' | 'gelu' | 'gelu-tanh'

/** Dropout by counter: element c of a row is kept when word c mod 4 of the counter (⌊c/4⌋, row, batch, site) is ≥ threshold. */
export interface RowDropout {
  readonly threshold: number
  readonly keepScale: number
  readonly seedLow: number
  readonly seedHigh: number
  /** tells the dropouts of one stage apart; 0 is attention's own */
  readonly site: number
}

/** Rows of several heads: row r of head h stands at `offset + h·headStride + r·rowStride`. */
export interface HeadSlice {
  readonly array: ArrayId
  readonly offset: number
  readonly headStride: number
  readonly rowStride: number
}

export type RowStep<S extends Slice = Slice, H extends HeadSlice = HeadSlice> =
  /** the chunk's rows, [rows, width of `to`] */
  | { readonly op: 'load'; readonly to: Register; readonly from: S }
  /** scale · table[token] for each row's token; Int32 [rows] */
  | { readonly op: 'embed'; readonly to: Register; readonly tokens: S; readonly table: Slice; readonly scale: number }
  /** to = from · Wᵀ + b */
  | { readonly op: 'linear'; readonly from: Register; readonly to: Register; readonly weight: ResidentWeight; readonly bias: ResidentWeight | null }
  /** to = (from − mean)/√(variance + epsilon)·w + b over each row */
  | { readonly op: 'norm'; readonly from: Register; readonly to: Register; readonly weight: ResidentWeight; readonly bias: ResidentWeight; readonly epsilon: number }
  /** to += from */
  | { readonly op: 'add'; readonly from: Register; readonly to: Register }
  | { readonly op: 'activate'; readonly register: Register; readonly activation: Activation }
  | { readonly op: 'drop'; readonly register: Register; readonly dropout: RowDropout }
  /** rotates the pairs (c, c + D/2) of every head by the angle of the row: `table` holds cos and sin, [rows, D] */
  | { readonly op: 'rotate'; readonly register: Register; readonly headSize: number; readonly table: S }
  /** the chunk's rows go to their place (shared memory), or back with the result */
  | { readonly op: 'store'; readonly from: Register; readonly to: S | 'returned' }
  /** stores [rows, heads·D] head by head, so that a head's rows follow each other: [heads, rows, D] where returned */
  | { readonly op: 'store-heads'; readonly from: Register; readonly heads: number; readonly to: H | 'returned' }

/** The array of a task's own attention output, for `load`: [rows, width]. Ids of attached arrays start at 1. */
export const CONTEXT_ARRAY: ArrayId = 0

/** Rows [rowStart, rowStart + rows) of one batch, through a list of steps. */
export interface RowStageTask {
  readonly kind: 'rows'
  readonly batch: number
  /** the first row's index in its sequence: part of the dropout counter */
  readonly rowStart: number
  readonly rows: number
  /** elements a row, for each register */
  readonly registers: readonly number[]
  /** what a lane sets aside for registers, attention's output and scratch: as much as any stage of the pass needs, so that it does so once */
  readonly registerBytes: number
  /** attention of these rows over all keys, one task a head, before the first step; they write to `CONTEXT_ARRAY` */
  readonly attention: { readonly tasks: readonly AttentionTask[]; readonly width: number } | null
  readonly steps: readonly RowStep[]
  /** packed weights that this stage does not use are dropped, least recently used first, while a lane holds more than that */
  readonly residentLimitBytes: number
}

/** One dense array for each step that returns rows, in the order of the steps. */
export interface RowStageResult {
  readonly stored: readonly Float32Array[]
  readonly elapsedMs: number
}
