import type { Runtime } from '../attention/runtime.ts'
import type { Tensor } from '../core/tensor.ts'
import type { Seed } from '../core/seed.ts'
import type { AnyModule } from '../nn/module.ts'
import type { LayerReport } from '../program/run.ts'
import type { Batch } from './batch.ts'
import type { Loss } from './losses.ts'

/** What `lossAndGradients` takes. */
export interface GradientOptions {
  /** Made by `crossEntropy` or `meanSquaredError`. */
  readonly loss: Loss
  /** needed where dropout is active */
  readonly seed?: Seed
  /** Where to compute. @default the runtime that `attention` shares */
  readonly runtime?: Runtime
  /** An abort rejects with the signal's reason. */
  readonly signal?: AbortSignal
  /** Names of the parameters to differentiate by; with none, only the loss is computed. @default all */
  readonly only?: readonly string[]
  /**
   * Whether gradients stay in shared memory where the lanes made them there: an optimizer's step and `gradientNorm` run
   * on lanes without a copy then. @default false: plain arrays, as some APIs of browsers ask for
   */
  readonly sharedGradients?: boolean
}

/** What `lossAndGradients` gives back. */
export interface GradientResult {
  /** mean over the counted targets */
  readonly loss: number
  /** how many targets counted */
  readonly counted: number
  /** by the names of `namedParameters()`; the caller's */
  readonly gradients: Map<string, Tensor>
  /** how the call was run, and what it took */
  readonly report: LayerReport
}

/** The type of `lossAndGradients`, so that tests can train with another. */
export type GradientCall = (model: AnyModule, batch: Batch, options: GradientOptions) => Promise<GradientResult>
