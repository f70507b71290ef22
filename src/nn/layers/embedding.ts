import { checkFinite, checkInteger, checkNames, expected } from '../../core/check.ts'
import { ShapeError } from '../../core/errors.ts'
import { checkTensor, formatShape, type Tensor } from '../../core/tensor.ts'
import type { Register } from '../../protocol/stage.ts'
import { checkForward, runForward, type ForwardOptions, type LayerResult } from '../forward-options.ts'
import { normal } from '../initialisers.ts'
import { Module } from '../module.ts'
import { Parameter } from '../../program/parameter.ts'
import type { Seed } from '../../core/seed.ts'
import { RowBuffer } from '../stage/buffers.ts'
import { StageBuilder } from '../stage/stage-builder.ts'

export interface EmbeddingOptions {
  /** Embeddings are times this; the paper takes √modelDim. @default 1 */
  readonly scale?: number
  /** @default 0 */
  readonly seed?: Seed
  /** standard deviation at the start. @default 1, as in PyTorch */
  readonly deviation?: number
}

/** y = scale · weight[token]. Parameter: `weight` [vocabulary, modelDim]. */
export class Embedding extends Module {
  readonly weight: Parameter
  readonly scale: number

  /** @throws {OptionError} for unknown names and wrong values */
  constructor(
    readonly vocabulary: number,
    readonly modelDim: number,
    options: EmbeddingOptions = {},
  ) {
    super()
    checkInteger('Embedding: vocabulary', vocabulary, 1)
    checkInteger('Embedding: modelDim', modelDim, 1)
    checkNames('Embedding: options', options, ['scale', 'seed', 'deviation'])
    const { scale = 1, seed = 0, deviation = 1 } = options
    checkFinite('Embedding: option scale', scale)
    checkFinite('Embedding: option deviation', deviation)
    this.scale = scale
    this.weight = this.addParameter('weight', new Parameter([vocabulary, modelDim]))
    normal(this.weight, seed, 0, deviation)
  }

  /** Adds the look-up to a stage. */
  apply(builder: StageBuilder, tokens: RowBuffer): Register {
    const to = builder.embed(tokens, this.weight, this.scale)
    builder.trace('embedding', builder.batch, builder.rows, this.modelDim)
    return to
  }

  /** @throws {OptionError} {ShapeError} unless `tokens` is an Int32 tensor [B, M] or [M] with values below the vocabulary */
  tokenRows(what: string, tokens: unknown): { batch: number; rows: number } {
    checkTensor(what, Int32Array, tokens)
    const [rows = 0, batch = 1] = tokens.shape.toReversed()
    if (tokens.shape.length !== 1 && tokens.shape.length !== 2) throw new ShapeError(`${what}: expected shape [B, M] or [M], got ${formatShape(tokens.shape)}`)
    const wrong = tokens.data.find((token) => token < 0 || token >= this.vocabulary)
    if (wrong !== undefined) throw expected(what, `tokens from 0 to ${this.vocabulary - 1}`, wrong)
    return { batch, rows }
  }

  /**
   * @param tokens Int32 [B, M] or [M]
   * @returns output [B, M, modelDim] or [M, modelDim], the caller's
   */
  async forward(tokens: Tensor<Int32Array>, options: ForwardOptions = {}): Promise<LayerResult> {
    checkForward('Embedding', options)
    const { batch, rows } = this.tokenRows('Embedding: tokens', tokens)
    const output = new RowBuffer('output', batch, rows, this.modelDim)
    const builder = new StageBuilder('Embedding', batch, rows)
    builder.store(this.apply(builder, new RowBuffer('tokens', batch, rows, 1, tokens.data)), output)
    const { data, report } = await runForward({ parts: [builder.finish()], output }, options, [tokens])
    return { output: { data, shape: [...tokens.shape, this.modelDim] }, report }
  }
}
