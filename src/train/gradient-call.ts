import type { Runtime } from '../attention/runtime.ts'
import type { Tensor } from '../core/tensor.ts'
import type { Module } from '../nn/module.ts'
import type { Seed } from '../core/seed.ts'
import type { Batch } from './batch.ts'
import type { Loss } from './losses.ts'

export interface GradientOptions {
  readonly loss: Loss
  /** needed where dropout is active */
  readonly seed?: Seed
  readonly runtime?: Runtime
  readonly signal?: AbortSignal
  /** Names of the parameters to differentiate by; with none, only the loss is computed. @default all */
  readonly only?: readonly string[]
}

export interface GradientResult {
  /** mean over the counted targets */
  readonly loss: number
  /** how many targets counted */
  readonly counted: number
  /** by the names of `namedParameters()`; the caller's */
  readonly gradients: Map<string, Tensor>
  readonly report: unknown
}

/** The type of `lossAndGradients`: the loss of a model on a batch, and its gradients. The model's mode decides about dropout. */
export type GradientCall = (model: Module, batch: Batch, options: GradientOptions) => Promise<GradientResult>
