import { expected } from '../core/check.ts'
import type { Tensor } from '../core/tensor.ts'
import type { Graph } from '../program/graph.ts'
import type { Value } from '../program/operation.ts'
import { add } from '../program/operations/elementwise.ts'
import { embed } from '../program/operations/embed.ts'
import type { EmbeddingsSpec } from './architecture.ts'
import type { ModelWeights } from './model-weights.ts'

interface EmbeddingsCall {
  readonly spec: EmbeddingsSpec
  readonly weights: ModelWeights
  readonly positions: Tensor<Int32Array> | undefined
  readonly tokenTypes: Tensor<Int32Array> | undefined
}

/**
 * The rows of the tokens, plus those of their positions and types where the model has such tables, through its norm.
 */
export function buildEmbeddings(
  graph: Graph,
  tokens: Value,
  { spec, weights, positions, tokenTypes }: EmbeddingsCall,
): Value {
  return graph.within('embeddings', () => {
    let rows = embed(graph, tokens, weights.parameter(spec.tokens.name), 1)
    const addFrom = (table: string, indices: Int32Array): void => {
      const numbers = graph.input(table, { batch: tokens.batch, rows: tokens.rows, width: 1 }, indices, {
        layout: 'tokens',
        integers: true,
      })
      rows = add(graph, rows, embed(graph, numbers, weights.parameter(table), 1))
    }
    if (spec.types !== null) addFrom(spec.types.name, typesOf(tokens, tokenTypes, spec.types.rows))
    else if (tokenTypes !== undefined)
      throw expected('TransformerModel: option tokenTypes', 'none, as the model has no token types', tokenTypes)
    if (spec.positions !== null)
      addFrom(spec.positions.name, positionsOf(graph, tokens, positions, spec.positions.offset))
    graph.trace('embedding', rows)
    return spec.norm === null ? rows : weights.norm(graph, spec.norm, rows)
  })
}

function typesOf({ batch, rows }: Value, given: Tensor<Int32Array> | undefined, kinds: number): Int32Array {
  if (given === undefined) return new Int32Array(batch * rows)
  const wrong = given.data.find((type) => type < 0 || type >= kinds)
  if (wrong !== undefined) throw expected('TransformerModel: option tokenTypes', `types from 0 to ${kinds - 1}`, wrong)
  return given.data
}

function positionsOf(
  graph: Graph,
  { batch, rows }: Value,
  given: Tensor<Int32Array> | undefined,
  offset: number,
): Int32Array {
  if (given !== undefined) return given.data.map((position) => position + offset)
  const { positions } = graph
  return Int32Array.from(
    { length: batch * rows },
    (_, index) => (positions[Math.floor(index / rows)] ?? positions[0] ?? 0) + (index % rows) + offset,
  )
}
