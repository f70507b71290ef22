import type { AttentionSettings, Destination, Slice } from './task.ts'

/**
 * Tasks of attention's backward pass: one (batch, key head, key segment) each, as plan/key-segments.ts cuts the keys.
 * All query rows of all query heads that share the key head go through a task, in order, so that dK and dV of the
 * segment are complete when it ends; dQ is complete when the slots of all segments are added, in key order.
 *
 * A task overwrites its destinations and never adds to what is in them: it can run twice.
 */

/** What the heads of a task share: the keys of one head of one batch, and who sees them. */
export interface KeySegmentTask {
  /** `keys`, `headSize`, `valueSize` and the options; `standard` counts for nothing */
  readonly settings: AttentionSettings
  /** M: query rows of each head, from row 0 */
  readonly rows: number
  /** the segment, [keyStart, keyEnd) of N; both are multiples of the key block, but for keyEnd = N */
  readonly keyStart: number
  readonly keyEnd: number
  /** the number of valid keys: later ones are masked; N where there is none */
  readonly keyLength: number
  readonly queryOffset: number
  /** [N, D], from key 0 (only the segment's rows are read; so too of every other slice over keys) */
  readonly key: Slice
  /** Int32 [M] and [N] (rowStride 1) */
  readonly querySegments?: Slice
  readonly keySegments?: Slice
  /** rows of work between two moments at which the lane may take a turn of its event loop; never changes a result */
  readonly stepRows: number
}

/** One query head against the task's keys: what its probabilities are made from. */
export interface ScoredHead {
  /** b·H + h: part of the dropout counter */
  readonly batchHead: number
  /** 0 is off */
  readonly alibiSlope: number
  /** [M, D] */
  readonly query: Slice
  /** [M] (rowStride 1), natural; −∞ marks a row that takes no part */
  readonly logSumExp: Slice
  /** Uint8 [M, N]; nonzero may attend */
  readonly mask?: Slice
  /** Float32 [M, N]; −∞ masks */
  readonly bias?: Slice
}

/**
 * What becomes of dS for the bias: its own matrix, or what it sums to where the bias is broadcast.
 * `matrix`: [M, keyEnd − keyStart]. `columns`: Σ over rows, [keyEnd − keyStart]. `rows`: Σ over the segment's keys,
 * [M]. `diagonals`: Σ over the pairs of each j − i, [M + keyEnd − keyStart − 1], from the last row's first key on.
 */
export type BiasGradient = 'matrix' | 'columns' | 'rows' | 'diagonals'

/** How many rows of how many numbers a task gives for each head's bias. */
export function biasGradientShape(kind: BiasGradient, rows: number, keys: number): readonly [number, number] {
  switch (kind) {
    case 'matrix':
      return [rows, keys]
    case 'columns':
      return [1, keys]
    case 'rows':
      return [rows, 1]
    case 'diagonals':
      return [1, Math.max(0, rows + keys - 1)]
  }
}

/** What dS of a head is made from. */
export interface OutputHead extends ScoredHead {
  /** [M, Dv] each */
  readonly output: Slice
  readonly dOutput: Slice
}

export interface BackwardHead extends OutputHead {
  /**
   * [M, D]: this task's slot of dQ, over its keys alone. The task adds to it as it goes: a slice must be another one
   * for each try
   */
  readonly dQuery: Destination
  /**
   * as the task's `biasGradient` says; absent where that is absent. A slice of `rows` must be another one for each try
   */
  readonly dBias?: Destination
}

/** dQ (a slot), dK, dV, and if asked for dBias and the slopes' gradient, of one key head over one key segment. */
export interface AttentionBackwardTask extends KeySegmentTask {
  readonly kind: 'attention-backward'
  /** [N, Dv] */
  readonly value: Slice
  /** the query heads that share the key head, in order */
  readonly heads: readonly BackwardHead[]
  /** [keyEnd − keyStart, D] and [keyEnd − keyStart, Dv]: row 0 is key `keyStart` */
  readonly dKey: Destination
  readonly dValue: Destination
  readonly biasGradient?: BiasGradient
  /** whether −Σ dS·|i + queryOffset − j| is wanted for each head */
  readonly slopeGradient: boolean
}

/** The dense arrays of the destinations that were `true`; those of the heads stand one after the other. */
export interface AttentionBackwardResult {
  /** [heads, M, D] */
  readonly dQuery?: Float32Array
  readonly dKey?: Float32Array
  readonly dValue?: Float32Array
  /** [heads, …] */
  readonly dBias?: Float32Array
  /** [heads], over the segment's keys */
  readonly dAlibiSlopes?: Float64Array
  readonly elapsedMs: number
  /** (query, key) tiles computed and skipped, for the report */
  readonly tiles: number
  readonly skippedTiles: number
}

/** One query head with the keys that it reads: a part of a bias that several heads share. */
export interface BiasPart extends KeySegmentTask {
  /** [N, Dv] */
  readonly value: Slice
  readonly head: OutputHead
}

/** Σ dS over the heads and batches that share a matrix of biases, over one key segment. */
export interface AttentionBiasTask {
  readonly kind: 'attention-bias'
  /** in the order in which they are added; of the same rows, settings and segment */
  readonly parts: readonly BiasPart[]
  /** [M, keyEnd − keyStart] */
  readonly dBias: Destination
}

export interface AttentionBiasResult {
  readonly dBias?: Float32Array
  readonly elapsedMs: number
  readonly tiles: number
  readonly skippedTiles: number
}

/** Pᵀ·X of one query head over one key segment; P before dropout. C, the width of X, is `settings.valueSize`. */
export interface AttentionTransposedTask extends KeySegmentTask {
  readonly kind: 'attention-transposed'
  readonly head: ScoredHead
  /** X [M, C]; null stands for ones, with C = 1 */
  readonly columns: Slice | null
  /** [keyEnd − keyStart, C]: row 0 is key `keyStart` */
  readonly output: Destination
}

export interface AttentionTransposedResult {
  readonly output?: Float32Array
  readonly elapsedMs: number
  readonly tiles: number
  readonly skippedTiles: number
}
