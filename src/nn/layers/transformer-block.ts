import { checkNames, checkOneOf } from '../../core/check.ts'
import { deriveSeed, seedValue, seedWords, type Seed } from '../../core/seed.ts'
import type { Graph } from '../../program/graph.ts'
import type { Value } from '../../program/operation.ts'
import { add } from '../../program/operations/elementwise.ts'
import type { Activation } from '../../protocol/stage.ts'
import type { ForwardOptions } from '../forward-options.ts'
import type { WeightInitialisation } from '../initialisers.ts'
import type { KeyValueCache } from '../key-value-cache.ts'
import { Module, type CacheUse } from '../module.ts'
import { Dropout } from './dropout.ts'
import { FeedForward } from './feed-forward.ts'
import { LayerNorm } from './layer-norm.ts'
import { LAYER_ATTENTION_NAMES, type LayerAttentionOptions } from './layer-attention-options.ts'
import { MultiHeadAttention } from './multi-head-attention.ts'
import type { RotaryOptions } from './rotary-frequencies.ts'

/** What `TransformerBlock` takes. */
export interface TransformerBlockOptions {
  /** E */
  readonly modelDim: number
  /** H; divides modelDim */
  readonly heads: number
  /** @default heads */
  readonly keyValueHeads?: number
  /** @default 4 · modelDim */
  readonly feedForwardDim?: number
  /** of attention weights, attention output, hidden layer and feed-forward output. @default 0 */
  readonly dropout?: number
  /** `post` as in the paper, `pre` norms the input of each part. @default 'post' */
  readonly norm?: 'post' | 'pre'
  /** @default 'relu' */
  readonly activation?: Activation
  /** @default 1e-5 */
  readonly epsilon?: number
  /** Rotary positions; a number is their base. @default false */
  readonly rotary?: boolean | number | RotaryOptions
  /** @default 'xavier-uniform' */
  readonly initialisation?: WeightInitialisation
  /** @default 0 */
  readonly seed?: Seed
}

export const BLOCK_NAMES: readonly (keyof TransformerBlockOptions)[] = [
  'modelDim',
  'heads',
  'keyValueHeads',
  'feedForwardDim',
  'dropout',
  'norm',
  'activation',
  'epsilon',
  'rotary',
  'initialisation',
  'seed',
]

/** What `forward` of a block takes. */
export interface BlockForward extends ForwardOptions, LayerAttentionOptions {
  /** Keys and values of earlier rows; those of this call are added behind them. */
  readonly cache?: KeyValueCache
}

/**
 * One layer of a transformer (Vaswani et al. 2017, §3.1). Post-norm: h = norm₁(x + attention(x)), y = norm₂(h + ff(h));
 * pre-norm: h = x + attention(norm₁(x)), y = h + ff(norm₂(h)). Parameters, as PyTorch's TransformerEncoderLayer names
 * them: `self_attn.*`, `linear1.*`, `linear2.*`, `norm1.*`, `norm2.*`.
 *
 * @example
 * ```js
 * import { tensor } from 'heddle'
 * import { TransformerBlock } from 'heddle/nn'
 *
 * const block = new TransformerBlock({ modelDim: 64, heads: 4, norm: 'pre', activation: 'gelu', seed: 1 })
 * const x = tensor(Float32Array.from({ length: 2 * 50 * 64 }, (_, i) => Math.sin(i)), [2, 50, 64])
 * const { output } = await block.forward(x, { causal: true })
 * console.log(output.shape) // [ 2, 50, 64 ]
 * ```
 */
export class TransformerBlock extends Module<Float32Array, BlockForward> {
  readonly inputDim: number
  /** E */
  readonly modelDim: number
  /** where the norms are */
  readonly norm: 'post' | 'pre'
  /** its attention */
  readonly selfAttention: MultiHeadAttention
  /** its feed-forward layer */
  readonly feedForward: FeedForward
  /** of attention: its input where `norm` is 'pre', else its sum with the input */
  readonly norm1: LayerNorm
  /** of the feed-forward layer, likewise */
  readonly norm2: LayerNorm
  /** of attention's output */
  readonly attentionDropout: Dropout

  /** @throws {OptionError} for unknown names, wrong values, or heads that do not divide */
  constructor(options: TransformerBlockOptions) {
    super()
    options = checkNames('TransformerBlock: options', options, BLOCK_NAMES)
    const {
      modelDim,
      heads,
      norm = 'post',
      dropout = 0,
      epsilon = 1e-5,
      initialisation = 'xavier-uniform',
      seed = 0,
    } = options
    checkOneOf('TransformerBlock: option norm', norm, ['post', 'pre'])
    const words = seedWords('TransformerBlock: option seed', seed)
    const { keyValueHeads = heads, feedForwardDim = 4 * modelDim, activation = 'relu', rotary = false } = options
    this.norm = norm
    const shared = { modelDim, dropout, initialisation }
    const partSeed = (part: number): bigint => seedValue(deriveSeed(words, part))
    const attention = { ...shared, heads, keyValueHeads, rotary, seed: partSeed(0) }
    this.selfAttention = this.addModule('self_attn', new MultiHeadAttention(attention))
    this.inputDim = modelDim
    this.modelDim = modelDim
    const feedForward = { ...shared, feedForwardDim, activation, seed: partSeed(1) }
    this.feedForward = this.addModule('', new FeedForward(feedForward))
    this.norm1 = this.addModule('norm1', new LayerNorm(modelDim, epsilon))
    this.norm2 = this.addModule('norm2', new LayerNorm(modelDim, epsilon))
    this.attentionDropout = this.addModule('dropout', new Dropout(modelDim, dropout))
  }

  override get label(): string {
    return 'TransformerBlock'
  }

  /**
   * Room for the keys and values of `capacity` rows, for step-by-step decoding.
   *
   * @param batch how many sequences
   * @param capacity rows per sequence
   */
  createCache(batch: number, capacity: number): KeyValueCache {
    return this.selfAttention.createCache(batch, capacity)
  }

  override build(graph: Graph, input: Value, options: BlockForward = {}): Value {
    const output = graph.block(() => this.#build(graph, input, options))
    graph.watch(graph.scope, input, output)
    return output
  }

  #build(graph: Graph, input: Value, options: BlockForward): Value {
    const { selfAttention } = this
    const source = this.norm === 'pre' ? graph.within('self_attn', () => this.norm1.build(graph, input)) : input
    const sources = { query: source, key: source, value: source }
    const projected = graph.within('self_attn', () => selfAttention.projectAll(graph, sources, options.cache))
    const context = graph.seeded(0, () => selfAttention.attendProjected(graph, projected, options))
    return graph.seeded(1, () => this.#afterAttention(graph, input, context))
  }

  /** Output projection, residual, norm, feed-forward, residual, norm. */
  #afterAttention(graph: Graph, input: Value, context: Value): Value {
    const attended = this.attentionDropout.build(graph, this.selfAttention.projectOut(graph, context))
    const hidden = add(graph, attended, input)
    if (this.norm === 'pre') return add(graph, hidden, this.feedForward.build(graph, this.norm2.build(graph, hidden)))
    const normed = this.norm1.build(graph, hidden)
    return this.norm2.build(graph, add(graph, this.feedForward.build(graph, normed), normed))
  }

  protected override get optionNames(): readonly string[] {
    return [...LAYER_ATTENTION_NAMES, 'cache']
  }

  protected override cachesOf({ cache }: BlockForward): readonly CacheUse[] {
    return cache === undefined ? [] : this.cacheUses(cache)
  }

  /** @internal A cache of this block's attention. */
  cacheUses(cache: KeyValueCache): readonly CacheUse[] {
    const { keyValueHeads, headSize } = this.selfAttention
    return [{ cache, keyValueHeads, headSize }]
  }
}
