import type { Tensor } from '../core/tensor.ts'
import type { AttentionStatistics, WeightSelection } from './attention-options.ts'

/** The options that add tensors to a result, with the types of their values as a call gives them. */
export interface AskedResults<
  Weights extends boolean | WeightSelection,
  LogSumExp extends boolean,
  Statistics extends boolean,
> {
  /** Attention weights, of all heads and rows or of chosen ones: adds `weights` to the result. */
  readonly returnWeights?: Weights
  /** The log-sum-exp of each row's scores: adds `logSumExp` to the result. */
  readonly returnLogSumExp?: LogSumExp
  /** Entropy, largest weight and mean distance of each row: adds `statistics` to the result. */
  readonly returnStatistics?: Statistics
}

/** `Result`, with those optional tensors that the call asks for: `returnWeights: true` gives `weights: Tensor`. */
export type WithAsked<Result, Weights, LogSumExp, Statistics> = Result &
  Given<
    Weights,
    true | WeightSelection,
    {
      /** as in `AttentionResult` */
      readonly weights: Tensor
    }
  > &
  Given<
    LogSumExp,
    true,
    {
      /** as in `AttentionResult` */
      readonly logSumExp: Tensor
    }
  > &
  Given<
    Statistics,
    true,
    {
      /** as in `AttentionResult` */
      readonly statistics: AttentionStatistics
    }
  >

/** `Fields` where the value is certain to be a `Wanted`; in a tuple, so that a union is not taken apart. */
type Given<Value, Wanted, Fields> = [Value] extends [Wanted] ? Fields : unknown
