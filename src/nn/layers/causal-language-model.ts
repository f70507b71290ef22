import { checkBoolean, checkInteger, checkNames, checkOneOf, expected } from '../../core/check.ts'
import { OptionError, ShapeError } from '../../core/errors.ts'
import { asInt32, type IntegerArray, type IntegerTensor } from '../../core/integer-arrays.ts'
import { deriveSeed, seedValue, seedWords } from '../../core/seed.ts'
import { formatShape, readTensor, type Tensor } from '../../core/tensor.ts'
import type { Graph } from '../../program/graph.ts'
import { wholeWeight, type Value } from '../../program/operation.ts'
import { linear } from '../../program/operations/linear.ts'
import { checkLogitRule, shapeLogits, type LogitRule } from '../../program/operations/logits.ts'
import { tokenRowsOfShape, type ForwardOptions } from '../forward-options.ts'
import { generateTokens, streamTokens } from '../generation/generate.ts'
import type { GeneratedToken, GenerateOptions } from '../generation/options.ts'
import type { Prompt } from '../generation/prompts.ts'
import type { KeyValueCache } from '../key-value-cache.ts'
import { Module, type CacheUse, type RowSizes } from '../module.ts'
import { Dropout } from './dropout.ts'
import { readTokens, Embedding, tokensOf } from './embedding.ts'
import { Linear } from './linear.ts'
import { PositionalEncoding } from './positional-encoding.ts'
import { BLOCK_NAMES, type TransformerBlockOptions } from './transformer-block.ts'
import { checkReach, reachOptions, type TokenReach } from './token-reach.ts'
import { TransformerEncoder, type StackForward } from './transformer-encoder.ts'

/** What `CausalLanguageModel` takes. */
export interface CausalLanguageModelOptions extends Omit<TransformerBlockOptions, 'rotary'> {
  /** how many tokens there are */
  readonly vocabulary: number
  /** How many blocks there are. */
  readonly layers: number
  /** @default 'rotary' */
  readonly positions?: 'rotary' | 'sinusoidal' | 'learned'
  /** the longest sequence; needed for learned positions */
  readonly maxLength?: number
  /** Whether the head is the embedding's matrix. @default true */
  readonly tieWeights?: boolean
  /** Whether embeddings are times √modelDim, as in the paper. @default with sinusoidal positions */
  readonly scaleEmbeddings?: boolean
  /** Logits are the head's products times that. @default 1 */
  readonly logitScale?: number
  /** c: logits are c·tanh(x/c) of those, so that they stay between −c and c. @default none */
  readonly logitSoftcap?: number
}

/** What `CausalLanguageModel.forward` takes. */
export interface LanguageModelForward extends ForwardOptions, TokenReach {
  /** One cache per block, for step-by-step decoding: the tokens are those behind what the caches hold. */
  readonly caches?: readonly KeyValueCache[]
  /**
   * `[B]`: how many of each sequence's tokens are its own, from 0 to M; the rest only fills the tensor up. Their output
   * means nothing, and the caches do not keep them. Needs `caches`.
   *
   * @default M each
   */
  readonly lengths?: IntegerArray
  /** [B, M] or [M]: rows attend only to rows of their own segment, so that packed sequences do not see each other. */
  readonly segments?: IntegerTensor
  /**
   * [B, M] or [M]: the position of each token in its own sequence. Rotary positions need none: they are relative.
   * @default 0, 1, 2, …, on from what the caches hold
   */
  readonly positions?: IntegerTensor
}

const NAMES: readonly string[] = [
  ...BLOCK_NAMES.filter((name) => name !== 'rotary'),
  'vocabulary',
  'layers',
  'positions',
  'maxLength',
  'tieWeights',
  'scaleEmbeddings',
  'logitScale',
  'logitSoftcap',
]

/**
 * A decoder-only transformer: embedding, positions, causal blocks (pre-norm unless asked otherwise), a last norm, and
 * logits over the vocabulary. Parameters: `embedding.weight`, `positions.weight` where learned, `encoder.layers.0.…`,
 * `encoder.norm.*`, and `head.weight` where it is not tied.
 *
 * @example
 * ```js
 * import { tensor } from 'heddle'
 * import { CausalLanguageModel } from 'heddle/nn'
 *
 * const model = new CausalLanguageModel({ vocabulary: 100, modelDim: 64, heads: 4, layers: 2, seed: 1 })
 * const { output: logits } = await model.forward(tensor(Int32Array.of(1, 2, 3), [1, 3]))
 * console.log(logits.shape) // [ 1, 3, 100 ]
 *
 * const [text] = await model.generate([[1, 2, 3]], { maxNewTokens: 5 })
 * console.log(text.length) // 8
 * ```
 */
export class CausalLanguageModel extends Module<Int32Array, LanguageModelForward> {
  /** a token per row */
  readonly inputDim = 1
  /** V */
  readonly vocabulary: number
  /** E */
  readonly modelDim: number
  /** tokens to rows */
  readonly embedding: Embedding
  /** positions that are added to embeddings; null with rotary positions */
  readonly positions: PositionalEncoding | null
  /** of the sum of embeddings and positions */
  readonly inputDropout: Dropout
  /** the blocks, and the norm after them */
  readonly encoder: TransformerEncoder
  /** rows to logits; null where the embedding's matrix is the head */
  readonly head: Linear | null
  readonly #logits: LogitRule

  /** @throws {OptionError} for unknown names and wrong values */
  constructor(options: CausalLanguageModelOptions) {
    super()
    options = checkNames('CausalLanguageModel: options', options, NAMES)
    const {
      vocabulary,
      layers,
      positions = 'rotary',
      maxLength,
      tieWeights = true,
      scaleEmbeddings = positions === 'sinusoidal',
      logitScale,
      logitSoftcap,
      ...block
    } = options
    const { modelDim, dropout = 0, norm = 'pre' } = block
    checkInteger('CausalLanguageModel: option vocabulary', vocabulary, 1)
    checkOneOf('CausalLanguageModel: option positions', positions, ['rotary', 'sinusoidal', 'learned'])
    checkBoolean('CausalLanguageModel: option tieWeights', tieWeights)
    checkBoolean('CausalLanguageModel: option scaleEmbeddings', scaleEmbeddings)
    this.#logits = {
      ...(logitScale === undefined ? {} : { scale: logitScale }),
      ...(logitSoftcap === undefined ? {} : { softcap: logitSoftcap }),
    }
    checkLogitRule('CausalLanguageModel: option', this.#logits)
    const words = seedWords('CausalLanguageModel: option seed', options.seed ?? 0)
    const partSeed = (index: number): bigint => seedValue(deriveSeed(words, index))
    this.vocabulary = vocabulary
    this.modelDim = modelDim
    // The paper scales embeddings up beside sines of size 1; a small deviation keeps tied logits small.
    const scale = scaleEmbeddings ? Math.sqrt(modelDim) : 1
    const tokens = { scale, deviation: 0.02, seed: partSeed(0) }
    this.embedding = this.addModule('embedding', new Embedding(vocabulary, modelDim, tokens))
    const encoding = encodingOf(positions, modelDim, maxLength, partSeed(1))
    this.positions = encoding && this.addModule('positions', encoding)
    this.inputDropout = this.addModule('dropout', new Dropout(modelDim, dropout))
    const encoder = { ...block, norm, layers, rotary: positions === 'rotary', finalNorm: true, seed: partSeed(2) }
    this.encoder = this.addModule('encoder', new TransformerEncoder(encoder))
    const head = { bias: false, seed: partSeed(3) }
    this.head = tieWeights ? null : this.addModule('head', new Linear(modelDim, vocabulary, head))
  }

  override get label(): string {
    return 'CausalLanguageModel'
  }

  /**
   * Continues token sequences one token at a time, with the keys and values of earlier tokens kept. On wasm lanes the
   * logits of a sequence have the same bits alone and in a batch, whatever the lengths of the others.
   *
   * @param prompt Int32 [B, M] or [M], at least one token each
   * @returns [B, M + new] or [M + new], the caller's; a sequence that ended early is filled up with the token that
   *   ended it
   * @throws {OptionError} {ShapeError} before anything is allocated
   * @throws {NumericError} that names the place of a logit which is NaN or +∞
   */
  generate(prompt: Tensor<Int32Array>, options: GenerateOptions): Promise<Tensor<Int32Array>>
  /**
   * The same for prompts of any lengths in one batch.
   *
   * @param prompts token ids of each sequence, at least one each
   * @returns each prompt with what follows it, up to its stop token
   */
  generate(prompts: readonly Prompt[], options: GenerateOptions): Promise<Int32Array[]>
  async generate(
    prompts: Tensor<Int32Array> | readonly Prompt[],
    options: GenerateOptions,
  ): Promise<Tensor<Int32Array> | Int32Array[]> {
    this.#checkEvaluation()
    return generateTokens(this, prompts, options)
  }

  /**
   * The tokens of `generate` as they are chosen: step by step, and in each step in the order of the prompts. Leaving
   * the loop ends the work.
   *
   * @param prompts Int32 [B, M] or [M], or the token ids of each sequence
   * @throws as `generate` does; for wrong arguments at once
   *
   * @example
   * ```js
   * import { CausalLanguageModel } from 'heddle/nn'
   *
   * const model = new CausalLanguageModel({ vocabulary: 100, modelDim: 64, heads: 4, layers: 2, seed: 1 })
   * for await (const { position, token } of model.stream([[1, 2, 3]], { maxNewTokens: 20, temperature: 0.8, seed: 1 }))
   *   if (position === 10 || token === 0) break // ends the work
   * ```
   */
  stream(
    prompts: Tensor<Int32Array> | readonly Prompt[],
    options: GenerateOptions,
  ): AsyncGenerator<GeneratedToken, void, undefined> {
    this.#checkEvaluation()
    return streamTokens(this, prompts, options)
  }

  /**
   * Room for the keys and values of `capacity` tokens in every block.
   *
   * @param batch how many sequences
   * @param capacity tokens per sequence
   */
  createCaches(batch: number, capacity: number): KeyValueCache[] {
    return this.encoder.createCaches(batch, capacity)
  }

  /**
   * Tokens to logits [B, M, vocabulary].
   *
   * @param graph the graph that is built
   * @param tokens Int32 [B, M]
   */
  override build(graph: Graph, tokens: Value, options: LanguageModelForward = {}): Value {
    return this.buildHead(graph, this.buildHidden(graph, tokens, options))
  }

  /**
   * Tokens to the rows [B, M, E] that the head reads.
   *
   * @param graph the graph that is built
   * @param tokens Int32 [B, M]
   */
  buildHidden(
    graph: Graph,
    tokens: Value,
    { caches, segments, positions, window, sinks }: LanguageModelForward = {},
  ): Value {
    const reach = { ...(window === undefined ? {} : { window }), ...(sinks === undefined ? {} : { sinks }) }
    checkReach(this.label, reach)
    const input = graph.seeded(0, () => graph.within('embedding', () => this.#embed(graph, tokens, positions)))
    const attention = {
      causal: true,
      ...reachOptions(graph, tokens, reach),
      ...(caches === undefined ? {} : { caches }),
      ...(segments === undefined ? {} : { segments: segmentsOf(tokens, segments) }),
    }
    return graph.seeded(1, () => graph.within('encoder', () => this.encoder.build(graph, input, attention)))
  }

  /**
   * Logits [B, M, vocabulary] of hidden rows.
   *
   * @param graph the graph that is built
   * @param hidden [B, M, E]
   */
  buildHead(graph: Graph, hidden: Value): Value {
    const { weight } = this.head ?? this.embedding
    const logits = graph.within('head', () =>
      shapeLogits(graph, linear(graph, hidden, wholeWeight(weight), null), this.#logits),
    )
    graph.within('head', () => graph.trace('logits', logits))
    return logits
  }

  #embed(graph: Graph, tokens: Value, given: IntegerTensor | undefined): Value {
    const own = given === undefined ? undefined : readPerToken('positions', given, tokens)
    const embedded = this.embedding.build(graph, tokens)
    const { positions } = this
    if (positions === null) return this.inputDropout.build(graph, embedded)
    return this.inputDropout.build(
      graph,
      own === undefined ? positions.build(graph, embedded) : positions.buildAt(graph, embedded, own),
    )
  }

  protected override get scope(): string {
    return ''
  }

  protected override get optionNames(): readonly string[] {
    return ['caches', 'lengths', 'window', 'sinks', 'segments', 'positions']
  }

  protected override rowCounts(options: LanguageModelForward, sizes: RowSizes): readonly number[] {
    const { batch, rows } = sizes
    if (options.lengths === undefined) return super.rowCounts({}, sizes)
    const what = 'CausalLanguageModel: option lengths'
    const lengths = asInt32(what, options.lengths)
    if (lengths?.length !== batch)
      throw expected(what, `an Int32Array of ${batch}, one entry per sequence`, options.lengths)
    lengths.forEach((length, b) => checkInteger(`${what} ${b}`, length, 0, rows))
    if (options.caches === undefined) throw new OptionError(`${what}: expected caches with it, got none`)
    return Array.from(lengths)
  }

  #checkEvaluation(): void {
    if (this.drops)
      throw new OptionError('generate: expected a model in evaluation mode, got one in training mode with dropout')
  }

  protected override cachesOf({ caches }: LanguageModelForward): readonly CacheUse[] {
    return this.encoder.cacheUses(caches)
  }

  protected override valueOf(graph: Graph, name: string, shape: readonly number[], data: Int32Array | null): Value {
    return tokensOf(graph, `${this.label}: ${name}`, shape, data)
  }

  protected override readInput(_what: string, input: unknown): Tensor<Int32Array> {
    return readTokens('CausalLanguageModel: tokens', input, this.vocabulary)
  }
}

/** None where blocks rotate queries and keys by their positions. */
function encodingOf(
  positions: NonNullable<CausalLanguageModelOptions['positions']>,
  modelDim: number,
  maxLength: number | undefined,
  seed: bigint,
): PositionalEncoding | null {
  if (positions === 'rotary') return null
  if (positions !== 'learned') return new PositionalEncoding({ modelDim, seed })
  return new PositionalEncoding({ modelDim, seed, kind: positions, ...(maxLength !== undefined && { maxLength }) })
}

/** @throws {OptionError} {ShapeError} unless it has one entry per token */
function readPerToken(option: string, given: IntegerTensor, { batch, rows }: Value): Tensor<Int32Array> {
  const what = `CausalLanguageModel: option ${option}`
  const tensor = readTensor(what, Int32Array, given)
  const sizes = tokenRowsOfShape(what, tensor.shape)
  if (sizes.batch !== batch || sizes.rows !== rows)
    throw new ShapeError(
      `${what}: expected shape ${formatShape([batch, rows])}, as the tokens have it, got ${formatShape(tensor.shape)}`,
    )
  return tensor
}

/** Segments as attention takes them. */
function segmentsOf(tokens: Value, segments: IntegerTensor): NonNullable<StackForward['segments']> {
  const each = { data: readPerToken('segments', segments, tokens).data, shape: [tokens.batch, tokens.rows] }
  return { query: each, key: each }
}
