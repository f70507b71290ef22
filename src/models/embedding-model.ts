import { checkNames, checkOneOf } from '../core/check.ts'
import { OptionError } from '../core/errors.ts'
import type { Tensor } from '../core/tensor.ts'
import { readTokens, tokensOf } from '../nn/layers/embedding.ts'
import { Module } from '../nn/module.ts'
import type { Graph } from '../program/graph.ts'
import type { Value } from '../program/operation.ts'
import { pool, ROW_POOLINGS, type RowPooling } from '../program/operations/pool.ts'
import type { TransformerForward, TransformerModel } from './transformer-model.ts'

/**
 * A transformer with pooling: tokens [B, M] to one vector per sequence [B, 1, E], or, with segments, to one per segment
 * [B, S, E], where S is the largest segment number plus 1. It shares the transformer's parameters, and `backward` and
 * training reach all of them, so that a model learns from its vectors end to end. `embed` of a loaded model needs none
 * of this.
 *
 * @example
 * ```js
 * import { tensor } from 'heddle'
 * import { EmbeddingModel, loadModel } from 'heddle/models'
 *
 * const { transformer } = await loadModel('examples/document-search/tiny-model')
 * const model = new EmbeddingModel(transformer, { pooling: 'mean' })
 * const { output } = await model.forward(tensor(Int32Array.of(2, 120, 121, 3), [1, 4]))
 * console.log(output.shape[2] === model.modelDim) // true
 * ```
 */
export class EmbeddingModel extends Module<Int32Array, TransformerForward> {
  /** a token per row */
  readonly inputDim = 1
  /** E, the size of the embedding */
  readonly modelDim: number
  /** how rows become one vector */
  readonly pooling: RowPooling
  /** the model underneath, whose parameters it trains */
  readonly transformer: TransformerModel

  /**
   * @param transformer an encoder or decoder; its parameters are shared
   * @throws {OptionError} for another pooling
   */
  constructor(
    transformer: TransformerModel,
    options: {
      /** How rows become one vector. @default 'mean' */
      readonly pooling?: RowPooling
    } = {},
  ) {
    super()
    const { pooling = 'mean' } = checkNames('EmbeddingModel: options', options, ['pooling'])
    checkOneOf('EmbeddingModel: option pooling', pooling, ROW_POOLINGS)
    this.pooling = pooling
    this.transformer = this.addModule('', transformer)
    this.modelDim = transformer.modelDim
  }

  override get label(): string {
    return 'EmbeddingModel'
  }

  /**
   * Tokens to vectors [B, S, E], one per segment.
   *
   * @param graph the graph that is built
   * @param tokens Int32 [B, M]
   */
  override build(graph: Graph, tokens: Value, options: TransformerForward = {}): Value {
    const hidden = this.transformer.buildHidden(graph, tokens, options)
    const { segments } = options
    const vectors =
      segments === undefined
        ? pool(graph, hidden, this.pooling)
        : pool(graph, hidden, this.pooling, { numbers: segments.data, count: countOf(segments) })
    graph.trace('pooled', vectors)
    return vectors
  }

  protected override get scope(): string {
    return ''
  }

  protected override get optionNames(): readonly string[] {
    return ['segments', 'positions', 'tokenTypes']
  }

  protected override valueOf(graph: Graph, name: string, shape: readonly number[], data: Int32Array | null): Value {
    return tokensOf(graph, `${this.label}: ${name}`, shape, data)
  }

  protected override readInput(_what: string, input: unknown): Tensor<Int32Array> {
    return readTokens(`${this.label}: tokens`, input, this.transformer.vocabulary)
  }
}

/** More vectors than tokens would be mistaken numbers. */
function countOf({ data }: Tensor<Int32Array>): number {
  const count = data.reduce((most, number) => Math.max(most, number + 1), 0)
  if (count < 1 || count > data.length)
    throw new OptionError(
      `EmbeddingModel: option segments: expected numbers from 0 up, fewer than the ${data.length} tokens, got ${count - 1} as the largest`,
    )
  return count
}
