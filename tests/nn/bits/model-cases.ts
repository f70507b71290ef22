import {
  CausalLanguageModel,
  TransformerBlock,
  TransformerEncoder,
  type BlockForward,
  type CausalLanguageModelOptions,
  type GenerateOptions,
  type TransformerBlockOptions,
  type TransformerEncoderOptions,
} from 'heddle/nn'
import { Random } from '../../support/random.ts'
import { filled, integerTensor, maskTensor } from '../../support/tensors.ts'
import { forwardOptions, once, placed, randomised, uniformTensor, type LayerCase } from './layer-case.ts'

type Call = Omit<BlockForward, 'runtime' | 'chunkSize'>
type Stack = TransformerBlock | TransformerEncoder
type Shape = readonly number[]

const SEED = 1234
const small = { modelDim: 24, heads: 4, keyValueHeads: 2, feedForwardDim: 50, seed: 51 }
const RAGGED: Shape = [3, 67, 24]

function over(name: string, make: () => Stack, shape: Shape, call: () => Call = () => ({})): LayerCase {
  const layer = once(() => randomised(make()))
  return {
    name: `${name}, [${shape.join(', ')}]`,
    async run(setting) {
      const { output } = await layer().forward(placed(setting, uniformTensor(61, shape)), {
        ...forwardOptions(setting),
        ...call(),
      })
      return { output: output.data }
    },
  }
}

const block = (
  name: string,
  options: Partial<TransformerBlockOptions>,
  shape: Shape = RAGGED,
  call?: () => Call,
): LayerCase => over(`TransformerBlock ${name}`, () => new TransformerBlock({ ...small, ...options }), shape, call)

const encoder = (
  name: string,
  options: Partial<TransformerEncoderOptions>,
  shape: Shape = RAGGED,
  call?: () => Call,
): LayerCase =>
  over(`TransformerEncoder ${name}`, () => new TransformerEncoder({ ...small, layers: 2, ...options }), shape, call)

/** In training mode, all of it or but for the part that `except` switches back. */
function trained(
  name: string,
  options: Partial<TransformerBlockOptions>,
  except: (block: TransformerBlock) => void = () => undefined,
): LayerCase {
  const make = () => {
    const layer = new TransformerBlock({ ...small, dropout: 0.2, ...options }).train()
    except(layer)
    return layer
  }
  return over(`TransformerBlock in training mode, ${name}`, make, RAGGED, () => ({ seed: SEED }))
}

const NORMS = ['post', 'pre'] as const
const ACTIVATIONS = ['relu', 'gelu', 'gelu-tanh'] as const

const blockCases: readonly LayerCase[] = [
  ...NORMS.flatMap((norm) =>
    ACTIVATIONS.map((activation) => block(`${norm}-norm, ${activation}`, { norm, activation })),
  ),
  ...NORMS.flatMap((norm) => [
    block(`${norm}-norm`, { norm }, [1, 1, 24]),
    block(`${norm}-norm, E 64`, { norm, modelDim: 64, heads: 8 }, [130, 64]),
    block(`${norm}-norm, epsilon 0.05, rotary of base 300`, { norm, epsilon: 0.05, rotary: 300 }, RAGGED, () => ({
      causal: true,
    })),
    trained(`${norm}-norm`, { norm }),
    trained(`${norm}-norm, the attention output's dropout in evaluation mode`, { norm }, (layer) =>
      layer.attentionDropout.eval(),
    ),
    trained(`${norm}-norm, attention's dropout in evaluation mode`, { norm }, (layer) => layer.selfAttention.eval()),
    trained(`${norm}-norm, the feed-forward part in evaluation mode`, { norm }, (layer) => layer.feedForward.eval()),
  ]),
  block('with defaults', { keyValueHeads: 4, feedForwardDim: 96 }),
  block('he-normal', { initialisation: 'he-normal' }, [5, 24]),
  block('with a mask and a bias', { rotary: true }, RAGGED, () => ({
    mask: maskTensor(new Random(8), [3, 67, 67]),
    bias: filled([1, 4, 67, 67], (at) => ((at * 37) % 101) / 101),
    window: { before: 30, after: 9 },
  })),
  block('with a key mask', { norm: 'pre' }, RAGGED, () => ({ keyMask: maskTensor(new Random(9), [3, 67]) })),
  block('with ALiBi, softcap and key lengths', {}, RAGGED, () => ({
    alibiSlopes: Float32Array.of(0.5, 0.25, 0.125, 0.0625),
    softcap: 3,
    keyLengths: Int32Array.of(67, 5, 40),
  })),
]

const encoderCases: readonly LayerCase[] = [
  ...NORMS.flatMap((norm) =>
    [true, false].map((finalNorm) =>
      encoder(`${norm}-norm, ${finalNorm ? 'with' : 'without'} a final norm`, { norm, finalNorm }),
    ),
  ),
  encoder('of 1 layer', { layers: 1, norm: 'pre' }, [1, 1, 24]),
  encoder(
    'of 3 layers, causal, GELU, rotary',
    { layers: 3, norm: 'pre', activation: 'gelu', rotary: true, modelDim: 64 },
    [130, 64],
    () => ({ causal: true }),
  ),
  encoder('with segments', {}, RAGGED, () => {
    const numbers = integerTensor(new Random(10), [3, 67], 3)
    return { segments: { query: numbers, key: numbers } }
  }),
  ...NORMS.map((norm) =>
    over(
      `TransformerEncoder in training mode, ${norm}-norm`,
      () => new TransformerEncoder({ ...small, norm, layers: 2, dropout: 0.2 }).train(),
      RAGGED,
      () => ({ seed: BigInt(SEED) }),
    ),
  ),
]

type ModelOptions = Partial<CausalLanguageModelOptions>

const model = (options: ModelOptions): CausalLanguageModel =>
  randomised(new CausalLanguageModel({ ...small, vocabulary: 31, layers: 2, maxLength: 130, ...options }))

function logits(name: string, options: ModelOptions, shape: Shape = [3, 67], seed?: number): LayerCase {
  const layer = once(() => model(options).train(seed !== undefined))
  return {
    name: `CausalLanguageModel ${name}, [${shape.join(', ')}]`,
    async run(setting) {
      const tokens = placed(setting, integerTensor(new Random(11), shape, 31))
      return {
        output: (await layer().forward(tokens, { ...forwardOptions(setting), ...(seed === undefined ? {} : { seed }) }))
          .output.data,
      }
    },
  }
}

function generated(
  name: string,
  options: ModelOptions,
  call: Omit<GenerateOptions, 'runtime'>,
  shape: Shape = [3, 5],
): LayerCase {
  const layer = once(() => model(options))
  return {
    name: `generate ${name}, after [${shape.join(', ')}]`,
    async run({ runtime }) {
      const prompt = integerTensor(new Random(12), shape, 31)
      return { tokens: (await layer().generate(prompt, { ...call, runtime })).data }
    },
  }
}

const POSITIONS = ['rotary', 'sinusoidal', 'learned'] as const

const modelCases: readonly LayerCase[] = [
  ...POSITIONS.flatMap((positions) =>
    [true, false].map((tieWeights) =>
      logits(`${positions} positions, ${tieWeights ? 'tied' : 'untied'}`, { positions, tieWeights }),
    ),
  ),
  ...POSITIONS.map((positions) =>
    logits(`in training mode, ${positions} positions`, { positions, dropout: 0.2 }, [3, 67], SEED),
  ),
  logits('post-norm, GELU', { norm: 'post', activation: 'gelu' }, [1, 1]),
  logits('of 1 layer, E 64, tanh GELU', { layers: 1, modelDim: 64, activation: 'gelu-tanh' }, [130]),
  ...POSITIONS.map((positions) => generated(`greedy, ${positions} positions`, { positions }, { maxNewTokens: 9 })),
  generated('greedy, untied, post-norm', { tieWeights: false, norm: 'post' }, { maxNewTokens: 9 }, [5]),
  generated('drawn', {}, { maxNewTokens: 20, temperature: 3, seed: SEED }),
  generated('drawn from the best 4', {}, { maxNewTokens: 20, temperature: 0.5, topK: 4, seed: 5n }),
  generated('drawn until a token', {}, { maxNewTokens: 30, temperature: 4, seed: 6, stopToken: 3 }),
  generated(
    'after a long prompt, E 64',
    { modelDim: 64, feedForwardDim: 256 },
    { maxNewTokens: 3, temperature: 1, seed: 8 },
    [3, 120],
  ),
]

export const stackCases: readonly LayerCase[] = [...blockCases, ...encoderCases, ...modelCases]
