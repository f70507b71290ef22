import type { AttentionStatistics, Tensor } from 'heddle'
import {
  MultiHeadAttention,
  TransformerBlock,
  type MultiHeadAttentionForward,
  type MultiHeadAttentionOptions,
} from 'heddle/nn'
import { Random } from '../../support/random.ts'
import { filled, integerTensor, maskTensor } from '../../support/tensors.ts'
import { forwardOptions, once, placed, randomised, uniformTensor, type LayerCase, type Results } from './layer-case.ts'

type Call = Omit<MultiHeadAttentionForward, 'runtime' | 'chunkSize' | 'cache'>
type LayerOptions = Partial<MultiHeadAttentionOptions>

/** [B, M] and N of a call: self-attention has none. */
interface Sizes {
  readonly B: number
  readonly M: number
  readonly N?: number
  /** whether values are projected from rows of their own */
  readonly values?: boolean
}

const [E, H] = [24, 4]
const SELF: Sizes = { B: 3, M: 67 }
const CROSS: Sizes = { B: 3, M: 5, N: 67 }
const grouped: LayerOptions = { keyValueHeads: 2 }

function attend(
  name: string,
  layerOptions: LayerOptions,
  sizes: Sizes,
  call: (random: Random) => Call = () => ({}),
): LayerCase {
  const { B, M, N, values = false } = sizes
  const modelDim = layerOptions.modelDim ?? E
  const layer = once(() => randomised(new MultiHeadAttention({ modelDim, heads: H, seed: 21, ...layerOptions })))
  return {
    name: `MultiHeadAttention ${modelDim}, ${name}, [${B}, ${M}${N === undefined ? '' : ` of ${N}`}]`,
    async run(setting) {
      const options = call(new Random(31))
      const query = placed(setting, uniformTensor(18, [B, M, modelDim]))
      const sources = {
        ...(N === undefined ? {} : { key: placed(setting, uniformTensor(19, [B, N, modelDim])) }),
        ...(values ? { value: placed(setting, uniformTensor(20, [B, N ?? M, modelDim])) } : {}),
      }
      return resultsOf(
        await layer()
          .train(options.seed !== undefined)
          .forward(query, { ...forwardOptions(setting), ...sources, ...options }),
      )
    },
  }
}

function resultsOf({
  output,
  weights,
  logSumExp,
  statistics,
}: {
  output: Tensor
  weights?: Tensor
  logSumExp?: Tensor
  statistics?: AttentionStatistics
}): Results {
  return {
    output: output.data,
    ...(weights === undefined ? {} : { weights: weights.data }),
    ...(logSumExp === undefined ? {} : { logSumExp: logSumExp.data }),
    ...Object.fromEntries(
      Object.entries(statistics ?? {}).map(([name, { data }]: [string, Tensor<Float32Array | Int32Array>]) => [
        name,
        data,
      ]),
    ),
  }
}

/** Key j of batch b is real below a length; `holes` leaves out others between. */
function keyMask(B: number, N: number, holes: boolean): Tensor<Uint8Array> {
  return {
    data: Uint8Array.from({ length: B * N }, (_, at) =>
      Number(at % N < N - 9 * Math.floor(at / N) && !(holes && at % 5 === 3)),
    ),
    shape: [B, N],
  }
}

/** Every option over M rows of N keys in 3 batches and 4 heads. */
function optionCalls(B: number, M: number, N: number): Readonly<Record<string, (random: Random) => Call>> {
  const floats = (random: Random, shape: readonly number[]): Tensor => filled(shape, () => 2 * random.uniform() - 1)
  const segments = (random: Random) => ({
    query: integerTensor(random, [B, M], 3),
    key: integerTensor(random, [B, N], 4),
  })
  return {
    causal: () => ({ causal: true }),
    window: () => ({ window: { before: 7, after: 3 } }),
    'a window without an end': () => ({ window: { before: 2 } }),
    'causal with a window': () => ({ causal: true, window: { before: 2 } }),
    'a mask [M, N]': (random) => ({ mask: maskTensor(random, [M, N]) }),
    'a mask [B, M, N]': (random) => ({ mask: maskTensor(random, [B, M, N]) }),
    'a mask [B, H, M, N]': (random) => ({ mask: maskTensor(random, [B, H, M, N]) }),
    'a mask [1, H, 1, N]': (random) => ({ mask: maskTensor(random, [1, H, 1, N]) }),
    'a key mask': () => ({ keyMask: keyMask(B, N, false) }),
    'a key mask with holes': () => ({ keyMask: keyMask(B, N, true) }),
    'a key mask with holes, and segments': (random) => ({ keyMask: keyMask(B, N, true), segments: segments(random) }),
    'a key mask and key lengths': () => ({ keyMask: keyMask(B, N, true), keyLengths: Int32Array.of(N, N - 5, 3) }),
    'a bias [M, N]': (random) => ({ bias: floats(random, [M, N]) }),
    'a bias [B, M, N]': (random) => ({ bias: floats(random, [B, M, N]) }),
    'a bias [1, H, M, N]': (random) => ({ bias: floats(random, [1, H, M, N]) }),
    'a bias [B, 1, M, 1]': (random) => ({ bias: floats(random, [B, 1, M, 1]) }),
    'ALiBi [H]': () => ({ alibiSlopes: Float32Array.of(0.5, 0.25, 0.125, 0.0625) }),
    'ALiBi [B·H]': (random) => ({ alibiSlopes: floats(random, [B * H]).data }),
    softcap: () => ({ softcap: 1.5 }),
    segments: (random) => ({ segments: segments(random) }),
    'key lengths': () => ({ keyLengths: Int32Array.of(N, 1, 0) }),
    'every option': (random) => ({
      causal: true,
      window: { before: 40 },
      mask: maskTensor(random, [B, M, N]),
      bias: floats(random, [1, H, M, N]),
      softcap: 2,
      alibiSlopes: Float32Array.of(0.5, 0.25, 0.125, 0.0625),
      keyMask: keyMask(B, N, true),
      segments: segments(random),
    }),
  }
}

/** Steps of several rows each behind what the cache holds. */
function decode(name: string, layerOptions: LayerOptions, call: Call, B = 3): LayerCase {
  const layer = once(() => randomised(new MultiHeadAttention({ modelDim: E, heads: H, seed: 22, ...layerOptions })))
  return {
    name: `MultiHeadAttention ${E} with a cache, ${name}, batch ${B}`,
    async run(setting) {
      const cache = new TransformerBlock({ modelDim: E, heads: H, keyValueHeads: layer().keyValueHeads }).createCache(
        B,
        80,
      )
      const results: Record<string, Float32Array> = {}
      for (const [step, M] of [67, 1, 5, 1].entries()) {
        const { output } = await layer().forward(placed(setting, uniformTensor(40 + step, [B, M, E])), {
          ...forwardOptions(setting),
          ...{ causal: false, ...call },
          cache,
        })
        results[`step ${step}`] = output.data
      }
      return results
    },
  }
}

const training = { seed: 77 }
const details = { returnWeights: true, returnLogSumExp: true, returnStatistics: true } as const

export const attentionCases: readonly LayerCase[] = [
  attend('plain', {}, SELF),
  attend('plain', {}, { B: 1, M: 1 }),
  attend('plain', { modelDim: 64 }, { B: 1, M: 130 }),
  attend('one head', { heads: 1 }, { B: 3, M: 5 }),
  attend('heads of 1', { heads: 24 }, { B: 1, M: 5 }),
  attend('two key heads', grouped, SELF),
  attend('one key head', { keyValueHeads: 1 }, SELF),
  attend('no bias', { bias: false }, SELF),
  attend('rotary', { ...grouped, rotary: true }, SELF),
  attend('rotary of base 500', { rotary: 500 }, SELF),
  attend('rotary over other keys', { rotary: true }, CROSS),
  ...(['xavier-normal', 'he-uniform', 'he-normal'] as const).map((initialisation) =>
    attend(initialisation, { initialisation, seed: 5n }, { B: 1, M: 5 }),
  ),
  attend('other keys', {}, CROSS),
  attend('other keys and values', grouped, { ...CROSS, values: true }),
  attend('more rows than keys', grouped, { B: 3, M: 67, N: 5, values: true }),
  attend('other values', {}, { B: 3, M: 5, values: true }),
  ...Object.entries(optionCalls(3, 67, 67)).map(([name, call]) => attend(name, grouped, SELF, call)),
  ...Object.entries(optionCalls(3, 5, 67)).map(([name, call]) => attend(name, {}, CROSS, call)),
  attend('dropout', { ...grouped, dropout: 0.25 }, SELF, () => training),
  attend('dropout over other keys, causal', { dropout: 0.25 }, CROSS, () => ({ ...training, causal: true })),
  attend('dropout of everything', { dropout: 1 }, { B: 1, M: 5 }, () => training),
  attend('all details', grouped, SELF, () => details),
  attend('all details of other keys, causal, rotary', { rotary: true }, { B: 3, M: 67, N: 70 }, () => ({
    ...details,
    causal: true,
  })),
  attend('all details, every option', grouped, SELF, (random) => ({
    ...optionCalls(3, 67, 67)['every option']?.(random),
    ...details,
  })),
  attend('averaged weights', {}, SELF, () => ({ returnWeights: true, averageWeights: true })),
  attend('chosen weights', {}, SELF, () => ({ returnWeights: { heads: [3, 1], rows: [0, 66, 7] } })),
  attend('log-sum-exp', grouped, SELF, () => ({ returnLogSumExp: true, causal: true })),
  attend('all details, dropout', { ...grouped, dropout: 0.25 }, SELF, () => ({ ...details, ...training })),
  decode('causal, rotary, two key heads', { ...grouped, rotary: true }, { causal: true }),
  decode('not causal', {}, {}, 1),
  decode(
    'a window and ALiBi',
    {},
    { causal: true, window: { before: 20 }, alibiSlopes: Float32Array.of(0.5, 0.25, 0.125, 0.0625) },
  ),
]
