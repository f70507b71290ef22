import { tensor } from 'heddle'
import {
  CausalLanguageModel,
  Dropout,
  Embedding,
  FeedForward,
  LayerNorm,
  Linear,
  MultiHeadAttention,
  PositionalEncoding,
  TransformerBlock,
  TransformerEncoder,
  type ForwardOptions,
  type TransformerBlockOptions,
} from 'heddle/nn'
import { filled } from '../../support/tensors.ts'

/** A forward pass whose traced tensors and watched layers are known. */
export interface TraceCase {
  readonly name: string
  run(options: ForwardOptions): Promise<unknown>
}

const x = filled([2, 5, 8], (at) => ((at * 7) % 11) / 11)
const tokens = tensor(Int32Array.of(1, 2, 3, 0, 4, 4), [2, 3])
const block: TransformerBlockOptions = { modelDim: 8, heads: 4, keyValueHeads: 2, feedForwardDim: 12 }

export const traceCases: readonly TraceCase[] = [
  { name: 'Linear', run: (options) => new Linear(8, 3).forward(x, options) },
  { name: 'LayerNorm', run: (options) => new LayerNorm(8).forward(x, options) },
  { name: 'FeedForward', run: (options) => new FeedForward({ modelDim: 8 }).forward(x, options) },
  { name: 'Dropout', run: (options) => new Dropout(8, 0.5).train().forward(x, { ...options, seed: 1 }) },
  { name: 'Embedding', run: (options) => new Embedding(5, 8).forward(tokens, options) },
  {
    name: 'PositionalEncoding',
    run: (options) => new PositionalEncoding({ modelDim: 8, dropout: 0.5 }).forward(x, options),
  },
  { name: 'MultiHeadAttention', run: (options) => new MultiHeadAttention(attention).forward(x, options) },
  {
    name: 'MultiHeadAttention over other keys and values',
    run: (options) => new MultiHeadAttention(attention).forward(x, { ...options, ...others() }),
  },
  {
    name: 'MultiHeadAttention with details',
    run: (options) => new MultiHeadAttention(attention).forward(x, { ...options, returnWeights: true }),
  },
  { name: 'MultiHeadAttention with a cache', run: withCache },
  ...(['post', 'pre'] as const).map((norm) => ({
    name: `TransformerBlock, ${norm}-norm`,
    run: (options: ForwardOptions) => new TransformerBlock({ ...block, norm }).forward(x, options),
  })),
  ...(['post', 'pre'] as const).map((norm) => ({
    name: `TransformerEncoder, ${norm}-norm`,
    run: (options: ForwardOptions) => new TransformerEncoder({ ...block, norm, layers: 2 }).forward(x, options),
  })),
  { name: 'CausalLanguageModel, rotary', run: (options) => model({}).forward(tokens, options) },
  {
    name: 'CausalLanguageModel, learned, untied',
    run: (options) => model({ positions: 'learned', maxLength: 3, tieWeights: false }).forward(tokens, options),
  },
  {
    name: 'generate',
    run: ({ runtime, trace }) =>
      model({}).generate(tokens, { maxNewTokens: 2, ...(runtime && { runtime }), ...(trace && { trace }) }),
  },
]

const attention = { modelDim: 8, heads: 4, keyValueHeads: 2 }

function others() {
  return { key: filled([2, 3, 8], (at) => at % 5), value: filled([2, 3, 8], (at) => at % 7) }
}

async function withCache(options: ForwardOptions): Promise<void> {
  const cache = new TransformerBlock(block).createCache(2, 6)
  const layer = new MultiHeadAttention(attention)
  await layer.forward(x, { ...options, cache })
  await layer.forward(
    filled([2, 1, 8], (at) => at),
    { ...options, cache },
  )
}

function model(options: { positions?: 'learned'; maxLength?: number; tieWeights?: boolean }): CausalLanguageModel {
  return new CausalLanguageModel({ ...block, vocabulary: 5, layers: 2, ...options })
}
