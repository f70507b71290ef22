import { checkBoolean, checkInteger, checkNames, checkOneOf } from '../../core/check.ts'
import { OptionError, ShapeError } from '../../core/errors.ts'
import { deriveSeed, seedValue, seedWords } from '../../core/seed.ts'
import { checkTensor, formatShape, type Tensor } from '../../core/tensor.ts'
import type { Graph } from '../../program/graph.ts'
import { wholeWeight, type Value } from '../../program/operation.ts'
import { linear } from '../../program/operations/linear.ts'
import { tokenRowsOfShape, type ForwardOptions } from '../forward-options.ts'
import { generateTokens, type GenerateOptions } from '../generate.ts'
import type { KeyValueCache } from '../key-value-cache.ts'
import { Module, type CacheUse } from '../module.ts'
import { Dropout } from './dropout.ts'
import { checkTokens, Embedding, tokensOf } from './embedding.ts'
import { Linear } from './linear.ts'
import { PositionalEncoding } from './positional-encoding.ts'
import { BLOCK_NAMES, type TransformerBlockOptions } from './transformer-block.ts'
import { TransformerEncoder, type StackForward } from './transformer-encoder.ts'

export interface CausalLanguageModelOptions extends Omit<TransformerBlockOptions, 'rotary'> {
  /** how many tokens there are */
  readonly vocabulary: number
  readonly layers: number
  /** @default 'rotary' */
  readonly positions?: 'rotary' | 'sinusoidal' | 'learned'
  /** the longest sequence; needed for learned positions */
  readonly maxLength?: number
  /** Whether the head is the embedding's matrix. @default true */
  readonly tieWeights?: boolean
  /** Whether embeddings are times √modelDim, as in the paper. @default with sinusoidal positions */
  readonly scaleEmbeddings?: boolean
}

/** What `CausalLanguageModel.forward` takes. */
export interface LanguageModelForward extends ForwardOptions {
  /** One cache per block, for step-by-step decoding: the tokens are those behind what the caches hold. */
  readonly caches?: readonly KeyValueCache[]
  /** [B, M] or [M]: rows attend only to rows of their own segment, so that packed sequences do not see each other. */
  readonly segments?: Tensor<Int32Array>
  /**
   * [B, M] or [M]: the position of each token in its own sequence. Rotary positions need none: they are relative.
   * @default 0, 1, 2, …, on from what the caches hold
   */
  readonly positions?: Tensor<Int32Array>
}

const NAMES: readonly string[] = [...BLOCK_NAMES.filter((name) => name !== 'rotary'), 'vocabulary', 'layers', 'positions', 'maxLength', 'tieWeights', 'scaleEmbeddings']

/**
 * A decoder-only transformer: embedding, positions, causal blocks (pre-norm unless asked otherwise), a last norm, and logits
 * over the vocabulary. Parameters: `embedding.weight`, `positions.weight` where learned, `encoder.layers.0.…`,
 * `encoder.norm.*`, and `head.weight` where it is not tied.
 */
export class CausalLanguageModel extends Module<Int32Array, LanguageModelForward> {
  /** a token per row */
  readonly inputDim = 1
  readonly vocabulary: number
  readonly modelDim: number
  readonly embedding: Embedding
  readonly positions: PositionalEncoding | null
  readonly inputDropout: Dropout
  readonly encoder: TransformerEncoder
  readonly head: Linear | null

  /** @throws {OptionError} for unknown names and wrong values */
  constructor(options: CausalLanguageModelOptions) {
    super()
    checkNames('CausalLanguageModel: options', options, NAMES)
    const { vocabulary, layers, positions = 'rotary', maxLength, tieWeights = true, scaleEmbeddings = positions === 'sinusoidal', ...block } = options
    const { modelDim, dropout = 0, norm = 'pre' } = block
    checkInteger('CausalLanguageModel: option vocabulary', vocabulary, 1)
    checkOneOf('CausalLanguageModel: option positions', positions, ['rotary', 'sinusoidal', 'learned'])
    checkBoolean('CausalLanguageModel: option tieWeights', tieWeights)
    checkBoolean('CausalLanguageModel: option scaleEmbeddings', scaleEmbeddings)
    const words = seedWords('CausalLanguageModel: option seed', options.seed ?? 0)
    const partSeed = (index: number): bigint => seedValue(deriveSeed(words, index))
    this.vocabulary = vocabulary
    this.modelDim = modelDim
    // The paper scales embeddings up beside sines of size 1; a small deviation keeps tied logits small.
    const scale = scaleEmbeddings ? Math.sqrt(modelDim) : 1
    this.embedding = this.addModule('embedding', new Embedding(vocabulary, modelDim, { scale, deviation: 0.02, seed: partSeed(0) }))
    const learned = positions === 'learned' ? { kind: positions, ...(maxLength === undefined ? {} : { maxLength }) } : {}
    this.positions = positions === 'rotary' ? null : this.addModule('positions', new PositionalEncoding({ modelDim, seed: partSeed(1), ...learned }))
    this.inputDropout = this.addModule('dropout', new Dropout(modelDim, dropout))
    this.encoder = this.addModule('encoder', new TransformerEncoder({ ...block, norm, layers, rotary: positions === 'rotary', finalNorm: true, seed: partSeed(2) }))
    this.head = tieWeights ? null : this.addModule('head', new Linear(modelDim, vocabulary, { bias: false, seed: partSeed(3) }))
  }

  override get label(): string {
    return 'CausalLanguageModel'
  }

  /**
   * Continues token sequences one token at a time, with the keys and values of earlier tokens kept.
   *
   * @param prompt Int32 [B, M] or [M], at least one token each
   * @returns [B, M + new] or [M + new], the caller's
   * @throws {NumericError} that names the place of a logit which is NaN or +∞
   */
  generate(prompt: Tensor<Int32Array>, options: GenerateOptions): Promise<Tensor<Int32Array>> {
    checkTokens('generate: prompt', prompt, this.vocabulary)
    if (this.drops) throw new OptionError('generate: expected a model in evaluation mode, got one in training mode with dropout')
    return generateTokens(this, prompt, options)
  }

  /** Room for the keys and values of `capacity` tokens in every block. */
  createCaches(batch: number, capacity: number): KeyValueCache[] {
    return this.encoder.createCaches(batch, capacity)
  }

  override build(graph: Graph, tokens: Value, options: LanguageModelForward = {}): Value {
    return this.buildHead(graph, this.buildHidden(graph, tokens, options))
  }

  /** Tokens to the rows [B, M, E] that the head reads. */
  buildHidden(graph: Graph, tokens: Value, { caches, segments, positions }: LanguageModelForward = {}): Value {
    const input = graph.seeded(0, () => graph.within('embedding', () => this.#embed(graph, tokens, positions)))
    const attention = { causal: true, ...(caches === undefined ? {} : { caches }), ...(segments === undefined ? {} : { segments: segmentsOf(tokens, segments) }) }
    return graph.seeded(1, () => graph.within('encoder', () => this.encoder.build(graph, input, attention)))
  }

  /** Logits [B, M, vocabulary] of hidden rows. */
  buildHead(graph: Graph, hidden: Value): Value {
    const { weight } = this.head ?? this.embedding
    const logits = graph.within('head', () => linear(graph, hidden, wholeWeight(weight), null))
    graph.within('head', () => graph.trace('logits', logits))
    return logits
  }

  #embed(graph: Graph, tokens: Value, given: Tensor<Int32Array> | undefined): Value {
    if (given !== undefined) checkPerToken('positions', given, tokens)
    const embedded = this.embedding.build(graph, tokens)
    const { positions } = this
    if (positions === null) return this.inputDropout.build(graph, embedded)
    return this.inputDropout.build(graph, given === undefined ? positions.build(graph, embedded) : positions.buildAt(graph, embedded, given))
  }

  protected override get scope(): string {
    return ''
  }

  protected override get optionNames(): readonly string[] {
    return ['caches', 'segments', 'positions']
  }

  protected override cachesOf({ caches }: LanguageModelForward): readonly CacheUse[] {
    return this.encoder.cacheUses(caches)
  }

  protected override valueOf(graph: Graph, name: string, shape: readonly number[], data: Int32Array | null): Value {
    return tokensOf(graph, `${this.label}: ${name}`, shape, data)
  }

  protected override checkInput(_what: string, input: Tensor<Int32Array>): void {
    checkTokens('CausalLanguageModel: tokens', input, this.vocabulary)
  }
}

/** @throws {OptionError} {ShapeError} unless it has one entry per token */
function checkPerToken(option: string, tensor: Tensor<Int32Array>, { batch, rows }: Value): void {
  const what = `CausalLanguageModel: option ${option}`
  checkTensor(what, Int32Array, tensor)
  const sizes = tokenRowsOfShape(what, tensor.shape)
  if (sizes.batch !== batch || sizes.rows !== rows) throw new ShapeError(`${what}: expected shape ${formatShape([batch, rows])}, as the tokens have it, got ${formatShape(tensor.shape)}`)
}

/** Segments as attention takes them. */
function segmentsOf(tokens: Value, segments: Tensor<Int32Array>): NonNullable<StackForward['segments']> {
  checkPerToken('segments', segments, tokens)
  const each = { data: segments.data, shape: [tokens.batch, tokens.rows] }
  return { query: each, key: each }
}
