import { checkFloat32, checkInteger, checkNames } from '../../core/check.ts'
import { OptionError } from '../../core/errors.ts'
import type { Seed } from '../../core/seed.ts'
import { formatPlace, readTensor, type Tensor } from '../../core/tensor.ts'
import type { Graph } from '../../program/graph.ts'
import type { Value } from '../../program/operation.ts'
import { embed } from '../../program/operations/embed.ts'
import { Parameter } from '../../program/parameter.ts'
import { tokenRowsOfShape } from '../forward-options.ts'
import { normal } from '../initialisers.ts'
import { Module } from '../module.ts'

/** What `Embedding` takes beside its sizes. */
export interface EmbeddingOptions {
  /** Embeddings are times this; the paper takes √modelDim. @default 1 */
  readonly scale?: number
  /** @default 0 */
  readonly seed?: Seed
  /** standard deviation at the start. @default 1, as in PyTorch */
  readonly deviation?: number
}

/**
 * y = scale · weight[token]. Parameter: `weight` [vocabulary, modelDim].
 *
 * @example
 * ```js
 * import { tensor } from 'heddle'
 * import { Embedding } from 'heddle/nn'
 *
 * const embedding = new Embedding(100, 64, { seed: 1 })
 * const { output } = await embedding.forward(tensor(Int32Array.of(5, 2, 9), [1, 3]))
 * console.log(output.shape) // [ 1, 3, 64 ]
 * ```
 */
export class Embedding extends Module<Int32Array> {
  /** a token per row */
  readonly inputDim = 1
  /** [vocabulary, modelDim] */
  readonly weight: Parameter
  /** what embeddings are multiplied by */
  readonly scale: number

  /** @throws {OptionError} for unknown names and wrong values */
  constructor(
    /** V: how many tokens there are */
    readonly vocabulary: number,
    /** E: elements per row of the output */
    readonly modelDim: number,
    options: EmbeddingOptions = {},
  ) {
    super()
    checkInteger('Embedding: vocabulary', vocabulary, 1)
    checkInteger('Embedding: modelDim', modelDim, 1)
    options = checkNames('Embedding: options', options, ['scale', 'seed', 'deviation'])
    const { scale = 1, seed = 0, deviation = 1 } = options
    checkFloat32('Embedding: option scale', scale)
    checkFloat32('Embedding: option deviation', deviation)
    this.scale = scale
    this.weight = this.addParameter('weight', new Parameter([vocabulary, modelDim]))
    normal(this.weight, seed, 0, deviation)
  }

  override get label(): string {
    return 'Embedding'
  }

  /**
   * Adds the lookup of each token's row to a graph.
   *
   * @param graph the graph that is built
   * @param input tokens [batch, rows]
   */
  override build(graph: Graph, input: Value): Value {
    const output = embed(graph, input, this.weight, this.scale)
    graph.trace('embedding', output)
    return output
  }

  protected override valueOf(graph: Graph, name: string, shape: readonly number[], data: Int32Array | null): Value {
    return tokensOf(graph, `${this.label}: ${name}`, shape, data)
  }

  protected override readInput(what: string, input: unknown): Tensor<Int32Array> {
    return readTokens(what, input, this.vocabulary)
  }
}

/** Tokens as a value of a graph. */
export function tokensOf(graph: Graph, what: string, shape: readonly number[], data: Int32Array | null): Value {
  return graph.input('tokens', { ...tokenRowsOfShape(what, shape), width: 1 }, data, {
    layout: 'tokens',
    integers: true,
  })
}

/**
 * Tokens, read once. @throws {OptionError} {ShapeError} unless they are an Int32 tensor [B, M] or [M] with values below
 * the vocabulary
 */
export function readTokens(what: string, value: unknown, vocabulary: number): Tensor<Int32Array> {
  const tokens = readTensor(what, Int32Array, value)
  tokenRowsOfShape(what, tokens.shape)
  const place = tokens.data.findIndex((token) => token < 0 || token >= vocabulary)
  if (place >= 0)
    throw new OptionError(
      `${what}: expected tokens from 0 to ${vocabulary - 1}, got ${tokens.data[place]} at ${formatPlace(place, tokens.shape)}`,
      { details: { place, value: tokens.data[place] } },
    )
  return tokens
}
