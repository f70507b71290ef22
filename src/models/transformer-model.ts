import { checkInteger } from '../core/check.ts'
import { OptionError, ShapeError } from '../core/errors.ts'
import { readTensor, formatShape, type Tensor } from '../core/tensor.ts'
import { tokenRowsOfShape, type ForwardOptions } from '../nn/forward-options.ts'
import { constant, normal } from '../nn/initialisers.ts'
import { KeyValueCache } from '../nn/key-value-cache.ts'
import { readTokens, tokensOf } from '../nn/layers/embedding.ts'
import { Module, type CacheUse } from '../nn/module.ts'
import { deriveSeed, seedValue, seedWords, type Seed } from '../core/seed.ts'
import { wholeWeight, type Value } from '../program/operation.ts'
import { shapeLogits } from '../program/operations/logits.ts'
import { Parameter } from '../program/parameter.ts'
import type { Graph } from '../program/graph.ts'
import { parameterShapes, type Architecture } from './architecture.ts'
import { BlockBuilder, RotaryTables } from './block-builder.ts'
import { buildEmbeddings } from './build-embeddings.ts'
import { ModelWeights } from './model-weights.ts'

/** What `TransformerModel.forward` takes. */
export interface TransformerForward extends ForwardOptions {
  /** [B, M] or [M]: rows attend only to rows of their own segment, so that packed texts do not see each other. */
  readonly segments?: Tensor<Int32Array>
  /** [B, M] or [M]: the position of each token in its own text. @default 0, 1, 2, …, on from what the caches hold */
  readonly positions?: Tensor<Int32Array>
  /** [B, M] or [M]: the type of each token, where the model has types. @default 0 */
  readonly tokenTypes?: Tensor<Int32Array>
  /** One cache per block, for step-by-step decoding: the tokens are those behind what the caches hold. */
  readonly caches?: readonly KeyValueCache[]
}

const OPTION_NAMES = ['segments', 'positions', 'tokenTypes', 'caches'] as const

/**
 * A transformer of the hub: tokens [B, M] to hidden rows [B, M, E], as an `Architecture` describes it. Parameters have
 * the hub's names. `backward`, `plan`, `trace` and training are those of every layer.
 */
export class TransformerModel extends Module<Int32Array, TransformerForward> {
  /** a token per row */
  readonly inputDim = 1
  /** E */
  readonly modelDim: number
  /** V */
  readonly vocabulary: number
  readonly #weights: ModelWeights
  readonly #blocks: readonly BlockBuilder[]

  /**
   * A model with parameters from a seed: N(0, 0.02²), norms 1, biases 0. `loadModel` fills them from files.
   *
   * @param initialise false leaves zeros, for those who fill them anyway
   */
  constructor(
    /** sizes and parameter names */
    readonly architecture: Architecture,
    {
      seed = 0,
      initialise = true,
    }: {
      /** Of the values at the start. @default 0 */
      readonly seed?: Seed
      /** Whether to draw values at the start rather than leave zeros. @default true */
      readonly initialise?: boolean
    } = {},
  ) {
    super()
    this.modelDim = architecture.modelDim
    this.vocabulary = architecture.vocabulary
    const parameters = new Map(
      [...parameterShapes(architecture)].map(([name, shape]) => [name, this.addParameter(name, new Parameter(shape))]),
    )
    if (initialise) drawParameters(parameters, seed)
    this.#weights = new ModelWeights(parameters)
    const tables = new RotaryTables()
    this.#blocks = architecture.blocks.map((spec) => new BlockBuilder(spec, this.#weights, tables))
  }

  override get label(): string {
    return 'TransformerModel'
  }

  /** The longest text that its positions allow. */
  get maxLength(): number {
    return this.architecture.maxLength
  }

  /**
   * Tokens to hidden rows [B, M, E], behind the last norm.
   *
   * @param graph the graph that is built
   * @param tokens Int32 [B, M]
   */
  override build(graph: Graph, tokens: Value, options: TransformerForward = {}): Value {
    return this.buildHidden(graph, tokens, options)
  }

  /**
   * Tokens to hidden rows [B, M, E], the last norm included.
   *
   * @param graph the graph that is built
   * @param tokens Int32 [B, M]
   */
  buildHidden(graph: Graph, tokens: Value, options: TransformerForward = {}): Value {
    const call = {
      segments: perToken('segments', options.segments, tokens),
      positions: perToken('positions', options.positions, tokens),
      tokenTypes: perToken('tokenTypes', options.tokenTypes, tokens),
    }
    const length = this.#checkPositions(graph, tokens, call.positions)
    let rows = buildEmbeddings(graph, tokens, { spec: this.architecture.embeddings, weights: this.#weights, ...call })
    this.#blocks.forEach((block, index) => {
      const cache = options.caches?.[index]
      rows = block.build(graph, rows, { segments: call.segments, length, ...(cache === undefined ? {} : { cache }) })
    })
    const { finalNorm } = this.architecture
    return finalNorm === null ? rows : graph.within(finalNorm.name, () => this.#weights.norm(graph, finalNorm, rows))
  }

  /**
   * Logits [B, M, vocabulary] of hidden rows.
   *
   * @param graph the graph that is built
   * @param hidden [B, M, E]
   * @throws {OptionError} for encoders, which have none
   */
  buildHead(graph: Graph, hidden: Value): Value {
    const { head, embeddings, logits: rule = {} } = this.architecture
    if (head === null) throw new OptionError(`${this.label}: expected a decoder for logits, got an encoder`)
    return graph.within(head === 'tied' ? 'head' : head.name, () => {
      const products =
        head === 'tied'
          ? this.#weights.product(graph, wholeWeight(this.#weights.parameter(embeddings.tokens.name)), hidden)
          : this.#weights.linear(graph, head, hidden)
      const logits = shapeLogits(graph, products, rule)
      graph.trace('logits', logits)
      return logits
    })
  }

  /**
   * Room for the keys and values of `capacity` tokens in every block.
   *
   * @param batch how many sequences
   * @param capacity tokens per sequence
   */
  createCaches(batch: number, capacity: number): KeyValueCache[] {
    checkInteger('createCaches: capacity', capacity, 1, this.maxLength)
    return this.architecture.blocks.map(
      ({ attention: { keyValueHeads, headSize } }) => new KeyValueCache({ batch, keyValueHeads, capacity, headSize }),
    )
  }

  /** The length of the longest text. @throws {OptionError} where a position is beyond the model's */
  #checkPositions(graph: Graph, { rows }: Value, positions: Tensor<Int32Array> | undefined): number {
    let last = graph.position + rows - 1
    if (positions !== undefined) last = positions.data.reduce((most, position) => Math.max(most, position), -1)
    const lowest = positions?.data.reduce((least, position) => Math.min(least, position), 0) ?? 0
    const got = lowest < 0 ? lowest : last
    if (lowest < 0 || last >= this.maxLength)
      throw new OptionError(`${this.label}: expected positions from 0 to ${this.maxLength - 1}, got ${got}`)
    return last + 1
  }

  protected override get scope(): string {
    return ''
  }

  protected override get optionNames(): readonly string[] {
    return OPTION_NAMES
  }

  protected override cachesOf({ caches }: TransformerForward): readonly CacheUse[] {
    return this.cacheUses(caches)
  }

  /** @internal One cache per block. @throws {OptionError} unless there are as many, and for encoders */
  cacheUses(caches: readonly KeyValueCache[] | undefined): readonly CacheUse[] {
    if (caches === undefined) return []
    const { blocks } = this.architecture
    if (!blocks.every(({ attention }) => attention.causal))
      throw new OptionError(`${this.label}: expected a decoder for option caches, got an encoder`)
    if (caches.length !== blocks.length)
      throw new OptionError(
        `${this.label}: option caches: expected ${blocks.length} caches, one per block, got ${caches.length}`,
      )
    return blocks.map(({ attention: { keyValueHeads, headSize } }, index) => ({
      cache: caches[index] as KeyValueCache,
      keyValueHeads,
      headSize,
    }))
  }

  protected override valueOf(graph: Graph, name: string, shape: readonly number[], data: Int32Array | null): Value {
    return tokensOf(graph, `${this.label}: ${name}`, shape, data)
  }

  protected override readInput(_what: string, input: unknown): Tensor<Int32Array> {
    return readTokens(`${this.label}: tokens`, input, this.vocabulary)
  }
}

/** @throws {OptionError} {ShapeError} unless it is absent, or has one entry per token */
function perToken(
  name: (typeof OPTION_NAMES)[number],
  given: Tensor<Int32Array> | undefined,
  { batch, rows }: Value,
): Tensor<Int32Array> | undefined {
  if (given === undefined) return undefined
  const what = `TransformerModel: option ${name}`
  const { data, shape } = readTensor(what, Int32Array, given)
  const sizes = tokenRowsOfShape(what, shape)
  if (sizes.batch !== batch || sizes.rows !== rows)
    throw new ShapeError(
      `${what}: expected shape ${formatShape([batch, rows])}, as the tokens have it, got ${formatShape(shape)}`,
    )
  return { data, shape: [batch, rows] }
}

/** Matrices by a seed each; vectors are 1 where they are weights of norms, else 0. */
function drawParameters(parameters: ReadonlyMap<string, Parameter>, seed: Seed): void {
  const words = seedWords('TransformerModel: option seed', seed)
  let index = 0
  for (const [name, parameter] of parameters) {
    if (parameter.shape.length > 1) normal(parameter, seedValue(deriveSeed(words, index)), 0, 0.02)
    else if (name.endsWith('.weight')) constant(parameter, 1)
    index++
  }
}
