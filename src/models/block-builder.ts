import { resolveLayerAttention } from '../nn/layers/layer-attention-options.ts'
import type { KeyValueCache } from '../nn/key-value-cache.ts'
import { resolveRotaryOptions, type RotaryOptions } from '../nn/layers/rotary-frequencies.ts'
import { RotaryTable } from '../nn/layers/rotary.ts'
import type { Tensor } from '../core/tensor.ts'
import type { AttentionOptions } from '../attention/attention-options.ts'
import type { Graph } from '../program/graph.ts'
import type { Value } from '../program/operation.ts'
import { append } from '../program/operations/append.ts'
import { attend } from '../program/operations/attend.ts'
import { activate, add, multiply } from '../program/operations/elementwise.ts'
import type { BlockSpec, LinearSpec, NormSpec } from './architecture.ts'
import type { ModelWeights } from './model-weights.ts'

/** What is the same for all blocks of a call. */
export interface BlockCall {
  readonly segments: Tensor<Int32Array> | undefined
  /** of the longest text */
  readonly length: number
  readonly cache?: KeyValueCache
}

/** Adds one block of a model to graphs. */
export class BlockBuilder {
  readonly #spec: BlockSpec
  readonly #weights: ModelWeights
  readonly #rotary: RotaryTable | null

  constructor(spec: BlockSpec, weights: ModelWeights, tables: RotaryTables) {
    const { rotary, headSize } = spec.attention
    this.#spec = spec
    this.#weights = weights
    this.#rotary = rotary === null ? null : tables.of(headSize, rotary)
  }

  build(graph: Graph, input: Value, call: BlockCall): Value {
    const { name } = this.#spec
    const output = graph.within(name, () => graph.block(() => this.#build(graph, input, call)))
    graph.watch(name, input, output)
    return output
  }

  #build(graph: Graph, input: Value, call: BlockCall): Value {
    const { order, attentionNorm, feedForwardNorm } = this.#spec
    if (order === 'pre') {
      const hidden = add(graph, this.#attention(graph, this.#norm(graph, attentionNorm, input), call), input)
      return add(graph, this.#feedForward(graph, this.#norm(graph, feedForwardNorm, hidden)), hidden)
    }
    const hidden = this.#norm(graph, attentionNorm, add(graph, this.#attention(graph, input, call), input))
    return this.#norm(graph, feedForwardNorm, add(graph, this.#feedForward(graph, hidden), hidden))
  }

  #norm(graph: Graph, norm: NormSpec | null, from: Value): Value {
    return norm === null ? from : this.#weights.norm(graph, norm, from)
  }

  #attention(graph: Graph, from: Value, { segments, cache, length }: BlockCall): Value {
    const { heads, keyValueHeads, headSize, query, key, value, output, queryNorm, keyNorm } = this.#spec.attention
    const turned = (linear: LinearSpec, norm: NormSpec | null, purpose: string): Value => {
      const projected = this.#weights.linear(graph, linear, from, purpose)
      const normed = norm === null ? projected : this.#weights.headNorm(graph, norm, projected)
      return this.#rotary === null ? normed : this.#rotary.build(graph, normed, length)
    }
    const queries = turned(query, queryNorm, 'queries')
    const [keys, values] = cached(
      graph,
      turned(key, keyNorm, 'keys'),
      this.#weights.linear(graph, value, from, 'values'),
      cache,
    )
    const sizes = { batch: from.batch, heads, keyValueHeads, queries: from.rows, keys: keys.rows, headSize }
    const { context } = attend(
      graph,
      { query: queries, key: keys, value: values },
      { heads, keyHeads: keyValueHeads },
      resolveLayerAttention(sizes, this.#attentionOptions(graph, from.rows, segments)),
    )
    graph.trace('context', context, [from.batch, heads, from.rows, headSize])
    const attended = this.#weights.linear(graph, output, context)
    graph.trace('attention output', attended)
    return attended
  }

  #attentionOptions({ positions }: Graph, rows: number, segments: Tensor<Int32Array> | undefined): AttentionOptions {
    const { causal, window, alibiSlopes, scale } = this.#spec.attention
    return {
      causal,
      ...positionOptions(positions, rows),
      ...(window === null ? {} : { window: causal ? { before: window.before } : window }),
      ...(alibiSlopes === null ? {} : { alibiSlopes }),
      ...(scale === null ? {} : { scale }),
      ...(segments === undefined ? {} : { segments: { query: segments, key: segments } }),
    }
  }

  #feedForward(graph: Graph, from: Value): Value {
    const { gate, up, down, activation } = this.#spec.feedForward
    const wide = this.#weights.linear(graph, up, from)
    const hidden =
      gate === null
        ? activate(graph, wide, activation)
        : multiply(graph, activate(graph, this.#weights.linear(graph, gate, from), activation), wide)
    graph.trace('hidden', hidden)
    return this.#weights.linear(graph, down, hidden)
  }
}

/** Where the new rows stand. A sequence sees no more keys than it has, where another has more. */
function positionOptions(
  positions: readonly number[],
  rows: number,
): Pick<AttentionOptions, 'queryOffset' | 'keyLengths'> {
  if (positions.length === 1) return { queryOffset: positions[0] ?? 0 }
  return {
    queryOffset: Int32Array.from(positions),
    keyLengths: Int32Array.from(positions, (position) => position + rows),
  }
}

/** Keys and values, with those that the cache holds before them. */
function cached(graph: Graph, key: Value, value: Value, cache: KeyValueCache | undefined): [Value, Value] {
  if (cache === undefined) return [key, value]
  const held = cache.values(graph, graph.position)
  return [append(graph, key, held.key, graph.positions), append(graph, value, held.value, graph.positions)]
}

/** Blocks of a model whose angles are the same share a table. */
export class RotaryTables {
  readonly #tables = new Map<string, RotaryTable>()

  of(headSize: number, rotary: RotaryOptions): RotaryTable {
    const key = JSON.stringify([headSize, rotary])
    const table =
      this.#tables.get(key) ?? new RotaryTable(headSize, resolveRotaryOptions('rotary positions', rotary, headSize))
    this.#tables.set(key, table)
    return table
  }
}
