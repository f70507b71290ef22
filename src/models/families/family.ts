import type { Activation } from '../../protocol/stage.ts'
import type { Architecture, LinearSpec, NormSpec } from '../architecture.ts'
import type { ModelConfig } from '../model-config.ts'
import type { Pooling } from '../pooling.ts'

/** How the models of one `model_type` are read: their config, and the names in their safetensors. */
export interface Family {
  /** its name in reports and errors */
  readonly name: string
  /** `model_type` in config.json */
  readonly modelTypes: readonly string[]
  /** beyond the type: whether a config is of this family. @default all of the type are */
  readonly accepts?: (config: Readonly<Record<string, unknown>>) => boolean
  /** what may stand before the names of all tensors, depending on the class that saved them */
  readonly prefixes: readonly string[]
  /** older names of the same tensors */
  readonly rename?: (name: string) => string
  /** weights that are stored [in, out] */
  readonly transposed?: RegExp
  /** tensors that hidden rows do not need: heads of tasks, poolers, buffers */
  readonly unused: readonly RegExp[]
  /** how its rows become one vector where nothing says otherwise */
  readonly pooling: Pooling
  /** @throws {FormatError} for options with values that are not supported */
  readonly architecture: (config: ModelConfig) => Architecture
}

/** Names that `hidden_act` and its like have for what Heddle computes. */
const ACTIVATIONS: Readonly<Record<string, Activation>> = {
  gelu: 'gelu',
  gelu_python: 'gelu',
  gelu_new: 'gelu-tanh',
  gelu_fast: 'gelu-tanh',
  gelu_pytorch_tanh: 'gelu-tanh',
  silu: 'silu',
  swish: 'silu',
  relu: 'relu',
}

/**
 * The activation that a config names; one that is not supported is noted, and stands for GELU until the config is
 * refused.
 */
export function activationOf(config: ModelConfig, names: readonly string[], fallback: string): Activation {
  const given = config.text(names, fallback)
  if (!Object.hasOwn(ACTIVATIONS, given))
    config.refuse(`${names[0]} ${JSON.stringify(given)} (supported: ${Object.keys(ACTIVATIONS).join(', ')})`)
  return ACTIVATIONS[given] ?? 'gelu'
}

export function linearSpec(name: string, inSize: number, outSize: number, bias: boolean): LinearSpec {
  return { name, inSize, outSize, bias }
}

export function layerNormSpec(name: string, size: number, epsilon: number, bias = true): NormSpec {
  return { name, kind: 'layer', size, epsilon, bias }
}

export function rmsNormSpec(name: string, size: number, epsilon: number): NormSpec {
  return { name, kind: 'rms', size, epsilon, bias: false }
}

/** E/H. Heads that do not divide are noted. */
export function evenHeadSize(config: ModelConfig, modelDim: number, heads: number): number {
  if (modelDim % heads !== 0)
    config.refuse(`${heads} heads of a model of size ${modelDim} (expected heads that divide it)`)
  return Math.max(1, Math.floor(modelDim / heads))
}
