import type { Tensor } from '../core/tensor.ts'
import type { SegmentPlan } from '../plan/segment-call.ts'
import type { AttentionInputs, AttentionOptions } from './attention-options.ts'
import type { CallReport } from './call-report.ts'
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
type ResultOptions = WeightOptions & Pick<AttentionOptions, 'relativeBias' | 'dropout'>

/** How a call runs, without any effect on its result. */
interface RunOptions extends Pick<AttentionOptions, 'signal' | 'onProgress'> {
  /** Query rows between two moments at which a lane listens for an abort. @default 256 */
  readonly chunkSize?: number
}

/** What `attentionBackward` takes: the forward call's options that decide about its output, and how to run. */
export interface AttentionBackwardOptions extends ResultOptions, RunOptions {
  /**
   * Whether `dBias` is wanted where there is a bias, which has as many elements as the bias, or `dRelativeBias` where
   * there is one by distance. @default true
   */
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
export interface SegmentReport extends CallReport {
  /** what was planned before anything ran */
  readonly plan: SegmentPlan
  /** whether the same call gives the same bits on this machine, for any pool and chunk size: it always does */
  readonly reproducible: true
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
  /** of the shape of `relativeBias`, where there is one, unless `biasGradient` is false */
  readonly dRelativeBias?: Tensor
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
