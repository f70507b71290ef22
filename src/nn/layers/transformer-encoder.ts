import { checkBoolean, checkInteger, checkNames, expected } from '../../core/check.ts'
import { deriveSeed, seedValue, seedWords } from '../../core/seed.ts'
import type { Graph } from '../../program/graph.ts'
import type { Value } from '../../program/operation.ts'
import type { ForwardOptions } from '../forward-options.ts'
import type { KeyValueCache } from '../key-value-cache.ts'
import { Module, type CacheUse } from '../module.ts'
import { LAYER_ATTENTION_NAMES, type LayerAttentionOptions } from './layer-attention-options.ts'
import { LayerNorm } from './layer-norm.ts'
import { BLOCK_NAMES, TransformerBlock, type TransformerBlockOptions } from './transformer-block.ts'

/** What `TransformerEncoder` takes. */
export interface TransformerEncoderOptions extends TransformerBlockOptions {
  /** How many blocks there are. */
  readonly layers: number
  /** A norm after the last block. @default true for pre-norm blocks */
  readonly finalNorm?: boolean
}

/** Far beyond any model; more would only be found out by making them. */
const MOST_LAYERS = 65_536

/** What `forward` of a stack of blocks takes. */
export interface StackForward extends ForwardOptions, LayerAttentionOptions {
  /** One cache per block, for step-by-step decoding. */
  readonly caches?: readonly KeyValueCache[]
}

/**
 * Blocks one after the other, as PyTorch's TransformerEncoder; with `causal` a decoder-only stack. Parameters:
 * `layers.0.…`, `layers.1.…`, and `norm.*` where there is a final norm.
 *
 * @example
 * ```js
 * import { tensor } from 'heddle'
 * import { TransformerEncoder } from 'heddle/nn'
 *
 * const encoder = new TransformerEncoder({ layers: 6, modelDim: 64, heads: 4, norm: 'pre', seed: 1 })
 * const x = tensor(Float32Array.from({ length: 50 * 64 }, (_, i) => Math.sin(i)), [50, 64])
 * const { output } = await encoder.forward(x)
 * console.log(output.shape, encoder.numParameters()) // [ 50, 64 ] 300032
 * ```
 */
export class TransformerEncoder extends Module<Float32Array, StackForward> {
  readonly inputDim: number
  /** E */
  readonly modelDim: number
  /** in the order in which they run */
  readonly blocks: readonly TransformerBlock[]
  /** the norm after the last block; null for none */
  readonly finalNorm: LayerNorm | null

  /** @throws {OptionError} for unknown names and wrong values */
  constructor(options: TransformerEncoderOptions) {
    super()
    options = checkNames('TransformerEncoder: options', options, [...BLOCK_NAMES, 'layers', 'finalNorm'])
    const { layers, finalNorm = options.norm === 'pre', ...block } = options
    checkInteger('TransformerEncoder: option layers', layers, 1, MOST_LAYERS)
    checkBoolean('TransformerEncoder: option finalNorm', finalNorm)
    const words = seedWords('TransformerEncoder: option seed', options.seed ?? 0)
    this.blocks = Array.from({ length: layers }, (_, index) =>
      this.addModule(`layers.${index}`, new TransformerBlock({ ...block, seed: seedValue(deriveSeed(words, index)) })),
    )
    this.inputDim = options.modelDim
    this.modelDim = options.modelDim
    this.finalNorm = finalNorm ? this.addModule('norm', new LayerNorm(options.modelDim, options.epsilon)) : null
  }

  override get label(): string {
    return 'TransformerEncoder'
  }

  /**
   * Room for the keys and values of `capacity` rows in every block.
   *
   * @param batch how many sequences
   * @param capacity rows per sequence
   */
  createCaches(batch: number, capacity: number): KeyValueCache[] {
    return this.blocks.map((block) => block.createCache(batch, capacity))
  }

  override build(graph: Graph, input: Value, { caches, ...options }: StackForward = {}): Value {
    let row = input
    this.blocks.forEach((block, index) => {
      const cache = caches?.[index]
      const build = (): Value => block.build(graph, row, { ...options, ...(cache === undefined ? {} : { cache }) })
      row = graph.within(`layers.${index}`, () => graph.seeded(index, build))
    })
    const { finalNorm } = this
    return finalNorm === null ? row : graph.within('norm', () => finalNorm.build(graph, row))
  }

  protected override get scope(): string {
    return ''
  }

  protected override get optionNames(): readonly string[] {
    return [...LAYER_ATTENTION_NAMES, 'caches']
  }

  protected override cachesOf({ caches }: StackForward): readonly CacheUse[] {
    return this.cacheUses(caches)
  }

  /** @internal One cache per block. @throws {OptionError} unless there are as many */
  cacheUses(caches: readonly KeyValueCache[] | undefined): readonly CacheUse[] {
    if (caches === undefined) return []
    if (caches.length !== this.blocks.length)
      throw expected(`${this.label}: option caches`, `${this.blocks.length} caches, one per block`, caches)
    return this.blocks.flatMap((block, index) => block.cacheUses(caches[index] as KeyValueCache))
  }
}
