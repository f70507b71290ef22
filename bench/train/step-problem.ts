import type { Tensor } from 'heddle'
import type * as HeddleNn from 'heddle/nn'

/** The model that every contender trains, and the batch of each step. */
export interface StepSizes {
  readonly layers: number
  readonly modelDim: number
  readonly heads: number
  readonly vocabulary: number
  readonly batch: number
  readonly tokens: number
}

/** DESIGN's model of a training step. */
export const STEP_SIZES: StepSizes = { layers: 4, modelDim: 256, heads: 4, vocabulary: 4096, batch: 4, tokens: 512 }

/**
 * A decoder with pre-norm blocks, sines added to scaled embeddings, ReLU and a tied head: operations that every peer
 * has.
 */
export interface StepProblem {
  readonly sizes: StepSizes
  /** by PyTorch's names and layouts */
  readonly state: Readonly<Record<string, Tensor>>
  /** [batch · tokens] */
  readonly tokens: Int32Array
  readonly targets: Int32Array
  /** [tokens, modelDim], added to the embeddings times √modelDim */
  readonly positions: Float32Array
}

export const LEARNING_RATE = 1e-3
export const EPSILON = 1e-5

export function stepProblem(
  { CausalLanguageModel, sinusoidalTable }: typeof HeddleNn,
  sizes: StepSizes,
): { readonly model: HeddleNn.CausalLanguageModel; readonly problem: StepProblem } {
  const { layers, modelDim, heads, vocabulary, batch, tokens: length } = sizes
  const model = new CausalLanguageModel({ layers, modelDim, heads, vocabulary, positions: 'sinusoidal', seed: 1 })
  // Real tokens are skewed; these are too.
  const token = (index: number): number =>
    Math.floor(vocabulary * (Math.abs(Math.sin(index * 12.9898) * 43758.5453) % 1) ** 3)
  const tokens = Int32Array.from({ length: batch * length }, (_, index) => token(index))
  const targets = Int32Array.from({ length: batch * length }, (_, index) => token(index + 1))
  return {
    model,
    problem: { sizes, state: model.stateDict(), tokens, targets, positions: sinusoidalTable(length, modelDim).data },
  }
}

/** One way to make steps. */
export interface StepContender {
  /** Forward, backward and an update by Adam. @returns the loss before it */
  readonly step: () => Promise<number>
  readonly close: () => Promise<void>
}

export const layerName = (layer: number, name: string): string => `encoder.layers.${layer}.${name}`
