import type { GpuAllowance } from '../plan/gpu-memory.ts'

/**
 * What crosses threads. A task is one chunk's work, as plain data: rows [rowStart, rowStart + rows) of one (batch,
 * head). Arrays are named by number; a message attaches the arrays that its lane has not seen yet, so that a task
 * itself stays tiny. With shared memory the arrays are whole tensors; without it they are the slices that the chunk
 * needs, transferred.
 */

/** Names an array that was attached to a lane. */
export type ArrayId = number

export type TaskArray = Float32Array | Int32Array | Uint8Array

export interface AttachedArray {
  readonly id: ArrayId
  readonly array: TaskArray
}

/** Rows in an array: row r, column c is at `offset + r·rowStride + c·columnStride` (in elements; 0 broadcasts). */
export interface Slice {
  readonly array: ArrayId
  readonly offset: number
  readonly rowStride: number
  /** 1 where absent */
  readonly columnStride?: number
}

/**
 * The options of a call as a kernel needs them: resolved, checked, the same for all tasks of the call but for what a
 * task itself holds.
 */
export interface AttentionSettings {
  /** N: keys of the whole call */
  readonly keys: number
  /** D: the head size of query and key */
  readonly headSize: number
  /** Dv: the head size of the value */
  readonly valueSize: number
  readonly scale: number
  /** 0 is off */
  readonly softcap: number
  readonly causal: boolean
  /** keys seen before and after i + queryOffset, inclusive; Infinity is unbounded */
  readonly windowBefore: number
  readonly windowAfter: number
  /** kept when the Philox word is ≥ threshold (up to 2³²: all dropped); null is off */
  readonly dropout: {
    readonly threshold: number
    readonly keepScale: number
    readonly seedLow: number
    readonly seedHigh: number
  } | null
  /** whether the full matrix is materialised: `weights` then covers every row of the task */
  readonly standard: boolean
}

/**
 * Where results go. A slice: written in place (shared memory). `true`: returned with the result, dense. Absent: not
 * wanted.
 */
export type Destination = Slice | true

/** The results of attention that are one number per row. */
export const ROW_RESULTS = ['logSumExp', 'entropy', 'maxWeight', 'maxIndex', 'meanDistance'] as const
export type RowResultName = (typeof ROW_RESULTS)[number]

export interface AttentionTask {
  readonly kind: 'attention'
  readonly settings: AttentionSettings
  /** b·H + h: part of the dropout counter */
  readonly batchHead: number
  /** the first row's index in the whole sequence, without queryOffset */
  readonly rowStart: number
  readonly rows: number
  /** keys [keyStart, keyEnd) are looked at: a split over keys, or all of [0, N) */
  readonly keyStart: number
  readonly keyEnd: number
  /** the number of valid keys: later ones are masked (`keyLengths`); N where there is none */
  readonly keyLength: number
  readonly queryOffset: number
  /** 0 is off */
  readonly alibiSlope: number
  /** [rows, D]: row 0 is the task's first row */
  readonly query: Slice
  /** [N, D], from key 0 */
  readonly key: Slice
  /** [N, Dv] */
  readonly value: Slice
  /** Uint8 [rows, N]; nonzero may attend */
  readonly mask?: Slice
  /** Float32 [rows, N]; −∞ masks */
  readonly bias?: Slice
  /** Int32 [rows] and [N] (rowStride 1) */
  readonly querySegments?: Slice
  readonly keySegments?: Slice
  /** [rows, Dv] */
  readonly output: Destination
  /** [rows] each (rowStride 1) */
  readonly logSumExp?: Destination
  readonly entropy?: Destination
  readonly maxWeight?: Destination
  readonly maxIndex?: Destination
  readonly meanDistance?: Destination
  /** weights of the rows in `weightRows`, or, in standard mode, of all rows: [weightRows.length or rows, N] */
  readonly weights?: Destination
  /** indices into the task's rows (0 … rows − 1), ascending; chunked mode only */
  readonly weightRows?: Int32Array
  /** what the plan grants it on a GPU lane; `rows` is those of the call's full chunks */
  readonly device?: GpuAllowance & { readonly rows: number }
}

/** Every array that a task of attention can return, by its class; rows of Dv elements (output), N (weights) or one. */
export const RETURNED_ARRAYS = {
  output: 'Float32Array',
  logSumExp: 'Float32Array',
  entropy: 'Float32Array',
  maxWeight: 'Float32Array',
  maxIndex: 'Int32Array',
  meanDistance: 'Float32Array',
  weights: 'Float32Array',
} as const

export type ReturnedName = keyof typeof RETURNED_ARRAYS

/** The dense arrays of the destinations that were `true`, and what the lane measured. */
export interface AttentionTaskResult {
  readonly output?: Float32Array
  readonly logSumExp?: Float32Array
  readonly entropy?: Float32Array
  readonly maxWeight?: Float32Array
  readonly maxIndex?: Int32Array
  readonly meanDistance?: Float32Array
  readonly weights?: Float32Array
  readonly elapsedMs: number
  /** (query, key) tiles computed and skipped, for the report */
  readonly tiles: number
  readonly skippedTiles: number
}
