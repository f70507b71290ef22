import { checkBoolean, checkInteger, checkNames, checkOneOf } from '../../core/check.ts'
import { OptionError } from '../../core/errors.ts'
import type { SeedWords } from '../../core/philox.ts'
import { checkTensor, type Tensor } from '../../core/tensor.ts'
import type { Register } from '../../protocol/stage.ts'
import { checkForward, dropoutSeed, runForward, type ForwardOptions, type LayerResult } from '../forward-options.ts'
import type { KeyValueCache } from '../key-value-cache.ts'
import { Module } from '../module.ts'
import { deriveSeed, seedValue, seedWords } from '../../core/seed.ts'
import { RowBuffer } from '../stage/buffers.ts'
import type { StageProgram } from '../stage/program.ts'
import { StageBuilder } from '../stage/stage-builder.ts'
import { generateTokens, type GenerateOptions } from '../generate.ts'
import { Dropout } from './dropout.ts'
import { Embedding } from './embedding.ts'
import { Linear } from './linear.ts'
import { PositionalEncoding } from './positional-encoding.ts'
import { rowContext } from './row-layer.ts'
import { TransformerEncoder } from './transformer-encoder.ts'
import { BLOCK_NAMES, type TransformerBlockOptions } from './transformer-block.ts'

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
}

const NAMES: readonly string[] = [...BLOCK_NAMES.filter((name) => name !== 'rotary'), 'vocabulary', 'layers', 'positions', 'maxLength', 'tieWeights']

/**
 * A decoder-only transformer: embedding, positions, causal blocks (pre-norm unless asked otherwise), a last norm, and logits
 * over the vocabulary. Parameters: `embedding.weight`, `positions.weight` where learned, `encoder.layers.0.…`,
 * `encoder.norm.*`, and `head.weight` where it is not tied.
 */
export class CausalLanguageModel extends Module {
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
    const { vocabulary, layers, positions = 'rotary', maxLength, tieWeights = true, ...block } = options
    const { modelDim, dropout = 0, norm = 'pre' } = block
    checkInteger('CausalLanguageModel: option vocabulary', vocabulary, 1)
    checkOneOf('CausalLanguageModel: option positions', positions, ['rotary', 'sinusoidal', 'learned'])
    checkBoolean('CausalLanguageModel: option tieWeights', tieWeights)
    const words = seedWords('CausalLanguageModel: option seed', options.seed ?? 0)
    const partSeed = (index: number): bigint => seedValue(deriveSeed(words, index))
    this.vocabulary = vocabulary
    this.modelDim = modelDim
    // The paper scales embeddings up beside sines of size 1; a small deviation keeps tied logits small.
    const scale = positions === 'sinusoidal' ? Math.sqrt(modelDim) : 1
    this.embedding = this.addModule('embedding', new Embedding(vocabulary, modelDim, { scale, deviation: 0.02, seed: partSeed(0) }))
    const learned = positions === 'learned' ? { kind: positions, ...(maxLength === undefined ? {} : { maxLength }) } : {}
    this.positions = positions === 'rotary' ? null : this.addModule('positions', new PositionalEncoding({ modelDim, seed: partSeed(1), ...learned }))
    this.inputDropout = this.addModule('dropout', new Dropout(modelDim, dropout))
    this.encoder = this.addModule('encoder', new TransformerEncoder({ ...block, norm, layers, rotary: positions === 'rotary', finalNorm: true, seed: partSeed(2) }))
    this.head = tieWeights ? null : this.addModule('head', new Linear(modelDim, vocabulary, { bias: false, seed: partSeed(3) }))
  }

  /** Whether a forward pass drops anything now. */
  get drops(): boolean {
    return this.inputDropout.drops || this.encoder.drops
  }

  /**
   * @param tokens Int32 [B, M] or [M]
   * @returns logits [B, M, vocabulary] or [M, vocabulary]: row i is over the token that follows token i
   */
  async forward(tokens: Tensor<Int32Array>, options: ForwardOptions = {}): Promise<LayerResult> {
    checkForward('CausalLanguageModel', options)
    const seed = dropoutSeed('CausalLanguageModel', this.drops, options.seed)
    const program = this.build(tokens, [], seed, true)
    const { data, report } = await runForward(program, options, [tokens])
    return { output: { data, shape: [...tokens.shape, this.vocabulary] }, report }
  }

  /**
   * Continues token sequences one token at a time, with the keys and values of earlier tokens kept.
   *
   * @param prompt Int32 [B, M] or [M], at least one token each
   * @returns [B, M + new] or [M + new], the caller's
   */
  generate(prompt: Tensor<Int32Array>, options: GenerateOptions): Promise<Tensor<Int32Array>> {
    this.embedding.tokenRows('generate: prompt', prompt)
    if (this.drops) throw new OptionError('generate: expected a model in evaluation mode, got one in training mode with dropout')
    return generateTokens(this, prompt, options)
  }

  /** Room for the keys and values of `capacity` tokens in every block. */
  createCaches(batch: number, capacity: number): KeyValueCache[] {
    return this.encoder.blocks.map((block) => block.createCache(batch, capacity))
  }

  /** @internal Tokens to logits, or, without `withHead`, to the rows that the head reads. */
  build(tokens: Tensor<Int32Array>, caches: readonly KeyValueCache[], seed: SeedWords | null, withHead: boolean): StageProgram {
    checkTensor('CausalLanguageModel: tokens', Int32Array, tokens)
    const { batch, rows } = this.embedding.tokenRows('CausalLanguageModel: tokens', tokens)
    const input = new RowBuffer('embeddings', batch, rows, this.modelDim)
    const context = rowContext(seed === null ? null : deriveSeed(seed, 0), caches[0]?.length ?? 0)
    const builder = new StageBuilder('embedding', batch, rows)
    const embedded = this.embedding.apply(builder, new RowBuffer('tokens', batch, rows, 1, tokens.data))
    const positioned = this.positions === null ? embedded : this.positions.apply(builder, embedded, context)
    builder.store(this.inputDropout.apply(builder, positioned, context), input)
    const stack = this.encoder.build({
      name: 'encoder',
      input,
      options: { causal: true },
      caches,
      seed: seed === null ? null : deriveSeed(seed, 1),
      ...(withHead ? { after: (last: StageBuilder, row: Register) => this.applyHead(last, row) } : {}),
    })
    return { ...stack, parts: [builder.finish(), ...stack.parts] }
  }

  /** @internal Logits of a row. */
  applyHead(builder: StageBuilder, from: Register): Register {
    const weight = this.head === null ? this.embedding.weight : this.head.weight
    const logits = builder.linear(from, { parameter: weight, rowStart: 0, outSize: this.vocabulary, inSize: this.modelDim }, null)
    builder.release(from)
    builder.trace('logits', builder.batch, builder.rows, this.vocabulary)
    return logits
  }
}
