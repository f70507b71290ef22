import type { Runtime } from '../../attention/runtime.ts'
import { checkNames, checkOneOf } from '../../core/check.ts'
import type { SeedWords } from '../../core/philox.ts'
import type { Tensor } from '../../core/tensor.ts'
import type { Activation, Register } from '../../protocol/stage.ts'
import { checkForward, checkRows, dropoutSeed, planForward, rowsOfShape, runForward, type ForwardOptions, type LayerResult } from '../forward-options.ts'
import type { WeightInitialisation } from '../initialisers.ts'
import { KeyValueCache } from '../key-value-cache.ts'
import { Module } from '../module.ts'
import { deriveSeed, seedValue, seedWords, type Seed } from '../../core/seed.ts'
import { RowBuffer } from '../stage/buffers.ts'
import type { LayerPlan } from '../stage/program-plan.ts'
import type { ProgramPart, WatchedLayer } from '../stage/program.ts'
import { StageBuilder } from '../stage/stage-builder.ts'
import { attentionPass, type AttentionDetails } from './attention-pass.ts'
import { Dropout } from './dropout.ts'
import { FeedForward } from './feed-forward.ts'
import { LayerNorm } from './layer-norm.ts'
import { LAYER_ATTENTION_NAMES, type LayerAttentionOptions } from './layer-attention-options.ts'
import { MultiHeadAttention } from './multi-head-attention.ts'
import { rowContext } from './row-layer.ts'

export interface TransformerBlockOptions {
  readonly modelDim: number
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
  readonly rotary?: boolean | number
  /** @default 'xavier-uniform' */
  readonly initialisation?: WeightInitialisation
  /** @default 0 */
  readonly seed?: Seed
}

export const BLOCK_NAMES: readonly (keyof TransformerBlockOptions)[] = [
  'modelDim', 'heads', 'keyValueHeads', 'feedForwardDim', 'dropout', 'norm', 'activation', 'epsilon', 'rotary', 'initialisation', 'seed',
]

/** What `forward` of blocks and stacks of blocks takes. */
export interface BlockForward extends ForwardOptions, LayerAttentionOptions {}

/** What a block must know of the pass through a model. */
export interface BlockPass {
  /** its path in the model */
  readonly name: string
  readonly input: RowBuffer
  readonly options: LayerAttentionOptions
  readonly details?: AttentionDetails
  readonly cache: KeyValueCache | null
  readonly seed: SeedWords | null
  /** what follows on the block's output row, such as a model's last norm */
  readonly after?: (builder: StageBuilder, row: Register) => Register
}

/**
 * One layer of a transformer (Vaswani et al. 2017, §3.1). Post-norm: h = norm₁(x + attention(x)), y = norm₂(h + ff(h));
 * pre-norm: h = x + attention(norm₁(x)), y = h + ff(norm₂(h)). Two stages: the projections; then attention and all that
 * follows it, chunk by chunk. Parameters, as PyTorch's TransformerEncoderLayer names them: `self_attn.*`, `linear1.*`,
 * `linear2.*`, `norm1.*`, `norm2.*`.
 */
export class TransformerBlock extends Module {
  readonly modelDim: number
  readonly norm: 'post' | 'pre'
  readonly selfAttention: MultiHeadAttention
  readonly feedForward: FeedForward
  readonly norm1: LayerNorm
  readonly norm2: LayerNorm
  readonly attentionDropout: Dropout

  /** @throws {OptionError} for unknown names, wrong values, or heads that do not divide */
  constructor(options: TransformerBlockOptions) {
    super()
    checkNames('TransformerBlock: options', options, BLOCK_NAMES)
    const { modelDim, heads, norm = 'post', dropout = 0, epsilon = 1e-5, initialisation = 'xavier-uniform', seed = 0 } = options
    checkOneOf('TransformerBlock: option norm', norm, ['post', 'pre'])
    const words = seedWords('TransformerBlock: option seed', seed)
    const { keyValueHeads = heads, feedForwardDim = 4 * modelDim, activation = 'relu', rotary = false } = options
    this.norm = norm
    this.selfAttention = this.addModule('self_attn', new MultiHeadAttention({ modelDim, heads, keyValueHeads, dropout, rotary, initialisation, seed: seedValue(deriveSeed(words, 0)) }))
    this.modelDim = modelDim
    this.feedForward = this.addModule('', new FeedForward({ modelDim, feedForwardDim, activation, dropout, initialisation, seed: seedValue(deriveSeed(words, 1)) }))
    this.norm1 = this.addModule('norm1', new LayerNorm(modelDim, epsilon))
    this.norm2 = this.addModule('norm2', new LayerNorm(modelDim, epsilon))
    this.attentionDropout = this.addModule('dropout', new Dropout(modelDim, dropout))
  }

  /** Whether a forward pass drops anything now. */
  get drops(): boolean {
    return this.selfAttention.drops || this.attentionDropout.drops
  }

  /** Room for the keys and values of `capacity` rows, for step-by-step decoding. */
  createCache(batch: number, capacity: number): KeyValueCache {
    const { keyValueHeads, headSize } = this.selfAttention
    return new KeyValueCache({ batch, keyValueHeads, capacity, headSize })
  }

  /**
   * @param input [B, M, E] or [M, E]
   * @returns output of the input's shape
   * @throws {ShapeError} {OptionError} before anything is allocated; else as `runtime.attention`
   */
  async forward(input: Tensor, options: BlockForward = {}): Promise<LayerResult> {
    checkForward('TransformerBlock', options, LAYER_ATTENTION_NAMES)
    const { batch, rows } = checkRows('TransformerBlock: input', input, this.modelDim)
    const seed = dropoutSeed('TransformerBlock', this.drops, options.seed)
    const { parts, output, watched } = this.build({ name: 'TransformerBlock', input: new RowBuffer('input', batch, rows, this.modelDim, input.data), options, cache: null, seed })
    const { data, report } = await runForward({ parts, output, watched }, options, [input])
    return { output: { data, shape: [...input.shape] }, report }
  }

  /** What `forward` would do and hold for an input of this shape. @throws {MemoryBudgetError} when nothing fits the budget */
  plan(runtime: Runtime, shape: readonly number[], options: LayerAttentionOptions = {}): LayerPlan {
    const { batch, rows } = rowsOfShape('TransformerBlock: input', shape, this.modelDim)
    const input = new RowBuffer('input', batch, rows, this.modelDim, null, true)
    return planForward(this.build({ name: 'TransformerBlock', input, options, cache: null, seed: null }), runtime)
  }

  /** @internal The block as parts of a program. */
  build(pass: BlockPass): { readonly parts: readonly ProgramPart[]; readonly output: RowBuffer; readonly watched: readonly WatchedLayer[] } {
    const { name, input, options, cache, seed, details = {} } = pass
    const pre = this.norm === 'pre'
    const attention = attentionPass(this.selfAttention, {
      name: `${name}.self_attn`,
      query: { buffer: input, prepare: (builder, row) => (pre ? this.norm1.apply(builder, row) : row) },
      options,
      details,
      cache,
      seed: seed === null ? null : deriveSeed(seed, 0),
    })
    const builder = new StageBuilder(name, input.batch, input.rows)
    const row = this.#afterAttention(builder, attention.begin(builder), input, seed === null ? null : deriveSeed(seed, 1))
    const last = pass.after === undefined ? row : pass.after(builder, row)
    const output = new RowBuffer('activations', input.batch, input.rows, builder.width(last))
    builder.store(last, output)
    const stage = builder.finish()
    return { parts: [...attention.parts, stage], output, watched: [{ layer: name, after: stage, input, output }] }
  }

  /** Output projection, residual, norm, feed-forward, residual, norm: all on one chunk. */
  #afterAttention(builder: StageBuilder, context: Register, input: RowBuffer, seed: SeedWords | null): Register {
    const rows = rowContext(seed)
    const hidden = this.attentionDropout.apply(builder, this.selfAttention.projectOut(builder, context), rows)
    builder.add(hidden, builder.load(input))
    if (this.norm === 'pre') {
      const normed = this.norm2.apply(builder, hidden, rows, true)
      builder.add(hidden, this.feedForward.apply(builder, normed, rows))
      return hidden
    }
    const normed = this.norm1.apply(builder, hidden, rows)
    const fed = this.feedForward.apply(builder, normed, rows, true)
    builder.add(fed, normed)
    return this.norm2.apply(builder, fed, rows)
  }
}
