import type { ResolvedOptions } from '../attention/resolve-options.ts'
import type { Runtime } from '../attention/runtime.ts'
import type { Tensor } from '../core/tensor.ts'
import type { AttentionSizes } from '../plan/attention-sizes.ts'
import type { Graph } from '../program/graph.ts'
import { isKind, type Operation, type Value } from '../program/operation.ts'
import type { ForwardOptions } from './forward-options.ts'
import { runValues } from './run-forward.ts'

/** One attention of a forward pass: what it reads, and the options that it resolved. */
export interface TracedAttention {
  /** the path of the layer in the model */
  readonly layer: string
  readonly sizes: AttentionSizes
  /** [B, H, M, D], in shared memory where the host has it */
  readonly query: Tensor
  /** [B, Hkv, N, D] */
  readonly key: Tensor
  readonly options: ResolvedOptions
}

/** The attention operations of a graph, in order: whatever layer added them. */
function attentionsOf(graph: Graph): Operation<'attend'>[] {
  return graph.operations.filter((operation): operation is Operation<'attend'> => isKind(operation, 'attend'))
}

/**
 * Queries and keys of every attention of a graph. Only what they depend on runs: neither the last attention itself, nor
 * what comes after it. Memory: all of them at once, 2·M·E numbers per layer.
 */
export async function runTraced(graph: Graph, runtime: Runtime, options: ForwardOptions): Promise<TracedAttention[]> {
  const attentions = attentionsOf(graph)
  const values = attentions.flatMap(({ inputs: [query, key] }) => [query as Value, key as Value])
  const data = values.length === 0 ? [] : (await runValues(graph, values, runtime, options)).data
  return attentions.map(({ scope, inputs: [query, key], attributes }, index) => {
    const { heads, keyHeads, keys, headSize, valueSize, options: resolved } = attributes
    const { batch, rows } = query as Value
    return {
      layer: scope,
      sizes: { batch, heads, keyValueHeads: keyHeads, queries: rows, keys, headSize, valueSize },
      query: { data: data[2 * index] as Float32Array, shape: [batch, heads, rows, headSize] },
      key: { data: data[2 * index + 1] as Float32Array, shape: [batch, keyHeads, (key as Value).capacity, headSize] },
      options: resolved,
    }
  })
}
