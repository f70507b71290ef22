import { readFileSync } from 'node:fs'
import type { Tensor, TensorData } from '../../src/core/tensor.ts'
import type { AttentionInputs, MathOptions } from './problem.ts'

interface Encoded {
  readonly type: keyof typeof arrays
  readonly shape: readonly number[]
  readonly base64: string
}

/** A float64 array with its shape: what PyTorch answered. */
export interface ExactTensor {
  readonly data: Float64Array
  readonly shape: readonly number[]
}

export interface AttentionFixture {
  readonly name: string
  readonly inputs: AttentionInputs
  readonly options: MathOptions
  /** `weights` is [B, H, M, N] and before dropout, `logSumExp` [B, H, M] */
  readonly expected: { readonly output: ExactTensor; readonly weights: ExactTensor; readonly logSumExp: ExactTensor }
  readonly dOutput: Tensor
  readonly gradients: Readonly<Record<string, ExactTensor>>
}

/** A PyTorch layer: `keyMask` is 1 where a key may be attended; inputs and state dict are float32. */
export interface LayerFixture {
  readonly name: string
  readonly kind: 'MultiheadAttention' | 'TransformerEncoderLayer' | 'TransformerEncoder'
  readonly settings: {
    readonly modelDim: number
    readonly heads: number
    readonly causal: boolean
    readonly feedForwardDim?: number
    readonly norm?: 'pre' | 'post'
    readonly activation?: 'relu' | 'gelu'
    readonly layers?: number
    readonly keyMask?: Tensor<Uint8Array>
  }
  readonly stateDict: Readonly<Record<string, Tensor>>
  readonly inputs: Readonly<Record<string, Tensor>>
  readonly output: Tensor
  readonly weights?: Tensor
  /** the same weights in float64 */
  readonly exactOutput: ExactTensor
  readonly dOutput: Tensor
  readonly parameterGradients: Readonly<Record<string, Tensor>>
  readonly inputGradients: Readonly<Record<string, Tensor>>
}

/** RMS norm, or a gated unit behind one, written by hand in PyTorch. */
export interface UnitFixture extends Pick<
  LayerFixture,
  'name' | 'stateDict' | 'output' | 'exactOutput' | 'dOutput' | 'parameterGradients'
> {
  readonly kind: 'RMSNorm' | 'GatedUnit'
  readonly settings: { readonly size: number; readonly epsilon: number; readonly hidden?: number }
  readonly inputs: { readonly input: Tensor }
  readonly inputGradients: { readonly input: Tensor }
}

/** A causal language model made of PyTorch's layers. */
export interface ModelFixture {
  readonly name: string
  readonly settings: {
    readonly vocabulary: number
    readonly modelDim: number
    readonly heads: number
    readonly feedForwardDim: number
    readonly layers: number
    readonly maxLength: number
    readonly positions: 'rotary' | 'sinusoidal' | 'learned'
    readonly tieWeights: boolean
    readonly norm: 'pre' | 'post'
    readonly activation: 'relu' | 'gelu'
  }
  readonly stateDict: Readonly<Record<string, Tensor>>
  /** [B, N] */
  readonly tokens: Tensor<Int32Array>
  readonly output: Tensor
  /** the same weights in float64 */
  readonly exactOutput: ExactTensor
  /** [B, maxLength]: the tokens and their likeliest continuation, in float64 */
  readonly greedy: Tensor<Int32Array>
  readonly dOutput: Tensor
  readonly parameterGradients: Readonly<Record<string, Tensor>>
}

/** A layer in Heddle's terms, and what PyTorch's operations answer in float64. */
export interface LayerGradientFixture {
  readonly name: string
  readonly layer:
    | 'Linear'
    | 'LayerNorm'
    | 'FeedForward'
    | 'Embedding'
    | 'PositionalEncoding'
    | 'MultiHeadAttention'
    | 'TransformerBlock'
    | 'TransformerEncoder'
  /** of the constructor, by place */
  readonly arguments: Readonly<Record<number, unknown>>
  /** of the call */
  readonly options: object
  readonly state: Readonly<Record<string, Tensor>>
  /** the first one is the layer's own; the others are options */
  readonly inputs: Readonly<Record<string, Tensor>>
  readonly output: Tensor
  readonly dOutput: Tensor
  readonly parameterGradients: Readonly<Record<string, Tensor>>
  readonly inputGradients: Readonly<Record<string, Tensor>>
}

const arrays = { float32: Float32Array, float64: Float64Array, uint8: Uint8Array, int32: Int32Array }

export function attentionFixtures(): AttentionFixture[] {
  return (load('attention.json') as AttentionFixture[]).map((fixture) => ({
    ...fixture,
    options: withPlainArrays(fixture.options),
  }))
}

export function layerFixtures(): LayerFixture[] {
  return load('layers.json') as LayerFixture[]
}

export function unitFixtures(): UnitFixture[] {
  return load('units.json') as UnitFixture[]
}

export function modelFixtures(): ModelFixture[] {
  return load('models.json') as ModelFixture[]
}

export function layerGradientFixtures(): LayerGradientFixture[] {
  return (load('layer-gradients.json') as LayerGradientFixture[]).map((fixture) => ({
    ...fixture,
    options: withPlainArrays(fixture.options),
  }))
}

function load(name: string): unknown[] {
  const text = readFileSync(new URL(`../fixtures/${name}`, import.meta.url), 'utf8')
  const { cases } = JSON.parse(text) as { cases: unknown[] }
  return cases.map(decode)
}

function decode(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (isEncoded(value)) {
    const bytes = Uint8Array.from(Buffer.from(value.base64, 'base64'))
    return { data: new arrays[value.type](bytes.buffer), shape: value.shape }
  }
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, decode(item)]))
}

function isEncoded(value: object): value is Encoded {
  return 'base64' in value
}

/** These three options are arrays without a shape in the public call. */
function withPlainArrays<Options extends object>(options: Options): Options {
  const plain = { ...options } as Record<string, unknown>
  for (const name of ['queryOffset', 'alibiSlopes', 'keyLengths']) {
    const value = plain[name] as Tensor<TensorData> | number | undefined
    if (typeof value === 'object') plain[name] = value.data
  }
  return plain as Options
}
