import type { BytesByPurpose } from '../core/ledger.ts'
import type { Tensor } from '../core/tensor.ts'
import type { Transport } from '../plan/transport.ts'
import type { SegmentPlan } from '../plan/segment-call.ts'
import type { Fallback } from '../protocol/messages.ts'
import type { LaneShare } from '../scheduler/job.ts'
import type { AttentionInputs, AttentionOptions } from './attention-options.ts'
import type { WeightOptions } from './weight-options.ts'

/** What the forward call was given and gave, and the gradient of the loss with respect to its output. */
export interface AttentionBackwardInputs extends AttentionInputs {
  /** the output of the forward call */
  readonly output: Tensor
  /** natural logarithm, as `returnLogSumExp` gives it; −∞ marks a row that takes no part */
  readonly logSumExp: Tensor
  /** ∂loss/∂output: the output's shape */
  readonly dOutput: Tensor
}

/** Options of the forward call that change its result; they must be the same here. */
type ResultOptions = WeightOptions & Pick<AttentionOptions, 'dropout'>

/** How a call runs, without any effect on its result. */
interface RunOptions extends Pick<AttentionOptions, 'signal' | 'onProgress'> {
  /** Query rows between two moments at which a lane listens for an abort. @default 256 */
  readonly chunkSize?: number
}

/** What `attentionBackward` takes: the forward call's options that decide about its output, and how to run. */
export interface AttentionBackwardOptions extends ResultOptions, RunOptions {
  /** Whether `dBias` is wanted where there is a bias: it has as many elements as the bias. @default true */
  readonly biasGradient?: boolean
}

/**
 * Options that make the weights; `dropout` may be given, but counts for nothing: the weights are those before dropout.
 */
export interface AttentionTransposedOptions extends ResultOptions, RunOptions {}

/** What `attentionTransposed` takes. */
export interface AttentionTransposedInputs extends Pick<AttentionInputs, 'query' | 'key'> {
  /** natural logarithm, as `returnLogSumExp` gives it; −∞ marks a row that takes no part */
  readonly logSumExp: Tensor
  /**
   * X, in the query's layout with a last size C of its own: [M, C], [B, M, C], [B, H, M, C], or with `heads` [B, M,
   * H·C]. Absent stands for ones with C = 1: the result is the attention that each key receives.
   */
  readonly rows?: Tensor
}

/** How a call was run. */
export interface SegmentReport {
  /** what was planned before anything ran */
  readonly plan: SegmentPlan
  /** whether threads shared the inputs, or copies were transferred */
  readonly transport: Transport
  /** whether relaxed SIMD was allowed */
  readonly numerics: 'fast' | 'portable'
  /** the lanes that did a part of it */
  readonly lanes: readonly LaneShare[]
  /** how many tasks ran */
  readonly tasks: number
  /** tasks sent again because their worker died */
  readonly retries: number
  /** everything that ran in another way than asked for, and why */
  readonly fallbacks: readonly Fallback[]
  /** whether the same call gives the same bits on this machine, for any pool and chunk size: it always does */
  readonly reproducible: true
  /** wall-clock time of the call */
  readonly elapsedMs: number
  /** what the counting allocator saw */
  readonly memory: {
    /** what the plan foretold, as an upper bound */
    readonly plannedBytes: number
    /** the most that was allocated at one time, beside the caller's inputs */
    readonly peakBytes: number
    /** the peak of each purpose, such as `dQuery` */
    readonly peakByPurpose: BytesByPurpose
  }
  /** (query, key) tiles that were computed, and those that no query may see */
  readonly tiles: number
  /** tiles that were not computed, since every pair in them is masked */
  readonly skippedTiles: number
}

/** Gradients, each of the shape of what it belongs to. */
export interface AttentionBackwardResult {
  /** ∂loss/∂Q, of the query's shape */
  readonly dQuery: Tensor
  /** ∂loss/∂K, of the key's shape */
  readonly dKey: Tensor
  /** ∂loss/∂V, of the value's shape */
  readonly dValue: Tensor
  /** where there is a bias, unless `biasGradient` is false */
  readonly dBias?: Tensor
  /** [H] or [B·H], where there are slopes */
  readonly dAlibiSlopes?: Float32Array
  /** how the call was run, and what it took */
  readonly report: SegmentReport
}

/** What `attentionTransposed` gives back. */
export interface AttentionTransposedResult {
  /** Pᵀ·X per query head: [N, C], [B, N, C], [B, H, N, C], or with `heads` [B, N, H·C] */
  readonly output: Tensor
  /** how the call was run, and what it took */
  readonly report: SegmentReport
}
