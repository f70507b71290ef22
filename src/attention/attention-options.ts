import type { AttentionMode, AttentionPlan } from '../plan/attention-request.ts'
import type { LaneKind } from '../protocol/messages.ts'
import type { Priority } from '../scheduler/job.ts'
import type { IntegerArray, IntegerTensor } from '../core/integer-arrays.ts'
import type { Tensor } from '../core/tensor.ts'
import type { CallReport } from './call-report.ts'

/**
 * Query, key and value. With B batches, H heads, Hkv key/value heads (query head h reads head ⌊h·Hkv/H⌋), M query rows,
 * N key rows, head sizes D and Dv: `[M, D]`, `[N, D]`, `[N, Dv]`; or with a leading B; or with leading B, H (Hkv);
 * or, with the option `heads`, `[B, M, H·D]`, `[B, N, Hkv·D]`, `[B, N, Hkv·Dv]`. They are never changed or detached.
 * Objects and options are read when the call is made. Elements are read until the call has ended: change or transfer a
 * buffer only after that (one that was transferred or shrunk before is an `OptionError`).
 */
export interface AttentionInputs {
  /** Q: [.., M, D] */
  readonly query: Tensor
  /** K: [.., N, D] */
  readonly key: Tensor
  /** V: [.., N, Dv] */
  readonly value: Tensor
}

/**
 * Keys that a query sees around its own position p, inclusive: p − before ≤ j ≤ p + after. Absent is unbounded. Either
 * end may be negative: { before: 1, after: −1 } is the previous key alone. Where no key lies between the ends, a row is
 * fully masked.
 */
export interface AttentionWindow {
  /** How many keys before its own position a query sees. @default unbounded */
  readonly before?: number
  /** How many keys after its own position a query sees. @default unbounded */
  readonly after?: number
}

/** Attention weights to return for chosen heads and rows only. Absent is all of them. */
export interface WeightSelection {
  /** Indices of query heads. @default all */
  readonly heads?: readonly number[]
  /** Indices of query rows. @default all */
  readonly rows?: readonly number[]
}

/** How far a call has come. */
export interface AttentionProgress {
  /** tasks finished, and tasks in all */
  readonly done: number
  /** tasks in all */
  readonly total: number
  /** since the call began */
  readonly elapsedMs: number
  /** estimated from the work that is left; NaN until the first task has ended */
  readonly remainingMs: number
}

/** A task that a lane has worked on. */
export interface AttentionTaskEvent {
  /** its number in the pool, as in the report */
  readonly lane: number
  /** what computed it */
  readonly kind: LaneKind
  /** index of the batch item */
  readonly batch: number
  /** index of the query head */
  readonly head: number
  /** the task's first query row */
  readonly rowStart: number
  /** how many query rows it has */
  readonly rows: number
  /**
   * Times of `performance.now()` on the calling thread: when it heard of the end, and so long before as the lane
   * worked.
   */
  readonly startMs: number
  /** when the calling thread heard that the task had ended */
  readonly endMs: number
}

/** Rows of the output as soon as they are known. */
export interface AttentionChunk {
  /** index of the batch item */
  readonly batch: number
  /** index of the query head */
  readonly head: number
  /** the chunk's first query row */
  readonly rowStart: number
  /** how many query rows it has */
  readonly rows: number
  /** [rows, Dv], the caller's to keep */
  readonly output: Float32Array
}

/** Order of the operations: scale → softcap → + bias and ALiBi → masks → softmax → dropout → · V. */
export interface AttentionOptions {
  /** Key j is seen by query i when j ≤ i + queryOffset. @default false */
  readonly causal?: boolean
  /**
   * Position of query 0 among the keys, for all batches or one each, within ±2^28; a key/value cache passes N − M.
   * @default 0
   */
  readonly queryOffset?: number | IntegerArray
  /** @default unbounded */
  readonly window?: AttentionWindow
  /**
   * Nonzero may attend; broadcasts to S ([M, N], [B, M, N] or [B, H, M, N]), aligned at the right. With option `heads`,
   * write [B, 1, M, N] for one mask per batch and [1, H, M, N] for one per head: rank 3 means per head, and is refused
   * where B = H. Integers other than bytes are copied to bytes first.
   */
  readonly mask?: IntegerTensor
  /** Added to the scaled score; −∞ masks; broadcasts to S, as `mask` does. */
  readonly bias?: Tensor
  /**
   * [2·most + 1] or [H or 1, 2·most + 1]: added to the scaled score by the distance j − (i + queryOffset) of key and
   * query, from −most to most; beyond, the first or last number counts. Memory is that of M + N numbers per head.
   * `relativeBias` takes the place of `bias`. T5's buckets become such a table with `bucketedRelativeBias`.
   */
  readonly relativeBias?: Tensor
  /** [H] or [B·H]: −slope·|i + queryOffset − j| is added. */
  readonly alibiSlopes?: Float32Array
  /** Scores become softcap·tanh(score/softcap). 0 is off. @default 0 */
  readonly softcap?: number
  /** @default 1/√D */
  readonly scale?: number
  /** A query sees a key only where their numbers are equal: [B, M] and [B, N]. */
  readonly segments?: {
    /** [B, M], or [M] where B is 1 */
    readonly query: IntegerTensor
    /** [B, N], or [N] where B is 1 */
    readonly key: IntegerTensor
  }
  /** The number of valid keys per batch item, [B]; later keys are ignored. */
  readonly keyLengths?: IntegerArray
  /**
   * Drops weights after the softmax; the kept ones scale by 1/(1 − probability). The seed is a safe integer or 64-bit
   * bigint ≥ 0.
   */
  readonly dropout?: {
    /** The probability with which a weight is dropped, from 0 to 1. */
    readonly probability: number
    /** The same seed drops the same weights, on any machine. */
    readonly seed: number | bigint
  }
  /** `auto` is chunked, unless `returnWeights: true` asks for the whole matrix. @default 'auto' */
  readonly mode?: 'auto' | AttentionMode
  /**
   * Query rows per task; never changes a result, nor what a lane holds. @default at most 1024, four tasks per lane or
   * more
   */
  readonly chunkSize?: number
  /** Splits [B, N, E] tensors into heads. */
  readonly heads?: number
  /** @default heads */
  readonly keyValueHeads?: number
  /**
   * The weights before dropout: all of them (shape S), or [B, heads, rows, N] of chosen heads and rows. @default false
   */
  readonly returnWeights?: boolean | WeightSelection
  /** @default false */
  readonly returnLogSumExp?: boolean
  /** @default false */
  readonly returnStatistics?: boolean
  /** A tensor of the output's shape to write into. */
  readonly out?: Tensor
  /** An abort rejects with the signal's reason; nothing visible is written after it. */
  readonly signal?: AbortSignal
  /**
   * Which of several waiting calls goes first: lanes take tasks of a lower priority only when no others wait. @default
   * 'normal'
   */
  readonly priority?: Priority
  /**
   * Called when the call begins (with done 0), then at most 20 times per second as tasks end and four times per second
   * while none does, and at the end.
   */
  readonly onProgress?: (progress: AttentionProgress) => void
  /** Called with each chunk, in the order in which they end. */
  readonly onChunk?: (chunk: AttentionChunk) => void
  /**
   * Called with each task, in the order in which they end: for a timeline of the lanes. A task is a chunk, or a part of
   * its keys.
   */
  readonly onTask?: (task: AttentionTaskEvent) => void
}

/** Per query row; each has shape S without N. A fully masked row has 0, 0, −1, 0. */
export interface AttentionStatistics {
  /** −Σ p·ln p, in nats */
  readonly entropy: Tensor
  /** the largest weight of the row */
  readonly maxWeight: Tensor
  /** the lowest key on ties */
  readonly maxIndex: Tensor<Int32Array>
  /** Σ p·|i + queryOffset − j| */
  readonly meanDistance: Tensor
}

/** How a call was run. */
export interface AttentionReport extends CallReport {
  /** which algorithm ran: the n × n matrix, or chunks */
  readonly mode: AttentionMode
  /** what was planned before anything ran */
  readonly plan: AttentionPlan
  /** what may be a mistake in the options, such as `causal` over a cache without `queryOffset` */
  readonly notes: readonly string[]
  /** whether the same call gives the same bits on this machine, for any pool and chunk size */
  readonly reproducible: boolean
}

/** What `attention` gives back. */
export interface AttentionResult {
  /** the query's layout with the value's last size; softmax(scale·QKᵀ + …)·V */
  readonly output: Tensor
  /** natural logarithm; −∞ for a fully masked row */
  readonly logSumExp?: Tensor
  /** the weights before dropout: [.., M, N], or [B, heads, rows, N] of those chosen; with `returnWeights` */
  readonly weights?: Tensor
  /** with `returnStatistics` */
  readonly statistics?: AttentionStatistics
  /** how the call was run, and what it took */
  readonly report: AttentionReport
}
