import type { AskedResults, WithAsked } from '../../attention/asked-results.ts'
import type { AttentionStatistics, WeightSelection } from '../../attention/attention-options.ts'
import { checkBoolean } from '../../core/check.ts'
import { OptionError, ShapeError } from '../../core/errors.ts'
import type { Tensor, TensorData } from '../../core/tensor.ts'
import type { Graph } from '../../program/graph.ts'
import type { Value } from '../../program/operation.ts'
import { append } from '../../program/operations/append.ts'
import { attend } from '../../program/operations/attend.ts'
import { readRows, rowsOfShape, type ForwardOptions, type LayerResult } from '../forward-options.ts'
import { KeyValueCache } from '../key-value-cache.ts'
import type { CacheUse } from '../module.ts'
import type { BackwardOptions, BackwardResult } from '../run-backward.ts'
import { AttentionProjections } from './attention-projections.ts'
import {
  LAYER_ATTENTION_NAMES,
  resolveLayerAttention,
  toAttentionOptions,
  type LayerAttentionOptions,
  type LayerAttentionSizes,
} from './layer-attention-options.ts'
import { averageOverHeads, inCallerOrder } from './returned-weights.ts'

/** What a call wants to know of attention beside its output. */
export interface AttentionDetails {
  /** The weights before dropout, of all heads and rows or of chosen ones. @default false */
  readonly returnWeights?: boolean | WeightSelection
  /** The log-sum-exp of each row's scores. @default false */
  readonly returnLogSumExp?: boolean
  /** Entropy, largest weight and mean distance of each row. @default false */
  readonly returnStatistics?: boolean
}

/** What `MultiHeadAttention.forward` takes. */
export interface MultiHeadAttentionForward extends ForwardOptions, LayerAttentionOptions, AttentionDetails {
  /** What is attended, [B, N, E]. @default the query: self-attention */
  readonly key?: Tensor
  /** @default the key */
  readonly value?: Tensor
  /** Weights as their mean over the heads, [B, M, N], as PyTorch returns them. @default false */
  readonly averageWeights?: boolean
  /** Keys and values of earlier rows; those of this call are added behind them. Self-attention only. */
  readonly cache?: KeyValueCache
}

/** What `MultiHeadAttention` gives back. */
export interface MultiHeadAttentionResult extends LayerResult {
  /** before dropout: [B, H, M, N], [B, heads, rows, N] of those chosen, or [B, M, N] where averaged */
  readonly weights?: Tensor
  /** [B, H, M] */
  readonly logSumExp?: Tensor
  /** each [B, H, M] */
  readonly statistics?: AttentionStatistics
}

export interface MultiHeadAttentionBackwardResult extends BackwardResult {
  /** where a key of its own was given; the gradient of its values too, where they are the key's */
  readonly dKey?: Tensor
  readonly dValue?: Tensor
}

/** What attention reads: rows [B, M, E] for the queries, [B, N, E] for keys and values. */
export interface AttentionSources {
  readonly query: Value
  readonly key: Value
  readonly value: Value
}

const NAMES: readonly string[] = [
  ...LAYER_ATTENTION_NAMES,
  'key',
  'value',
  'averageWeights',
  'cache',
  'returnWeights',
  'returnLogSumExp',
  'returnStatistics',
]

/**
 * Concat(head₁ … head_H)·W_Oᵀ + b_O, head_h = softmax(Q_h·K_hᵀ/√D + …)·V_h (Vaswani et al. 2017, §3.2.2), with
 * Q = x·W_Qᵀ + b_Q and so on. Memory beyond input and output: queries, keys and values, O(n·E); never n², unless all
 * weights are asked for.
 *
 * @example
 * ```js
 * import { tensor } from 'heddle'
 * import { MultiHeadAttention } from 'heddle/nn'
 *
 * const attention = new MultiHeadAttention({ modelDim: 64, heads: 4, rotary: true, seed: 1 })
 * const x = tensor(Float32Array.from({ length: 2 * 50 * 64 }, (_, i) => Math.sin(i)), [2, 50, 64])
 * const { output, statistics } = await attention.forward(x, { causal: true, returnStatistics: true })
 * console.log(output.shape, statistics.entropy.shape) // [ 2, 50, 64 ] [ 2, 4, 50 ]
 * ```
 */
export class MultiHeadAttention extends AttentionProjections<MultiHeadAttentionForward> {
  override get label(): string {
    return 'MultiHeadAttention'
  }

  /**
   * Room for the keys and values of `capacity` rows, for step-by-step decoding.
   *
   * @param batch how many sequences
   * @param capacity rows per sequence
   */
  createCache(batch: number, capacity: number): KeyValueCache {
    const { keyValueHeads, headSize } = this
    return new KeyValueCache({ batch, keyValueHeads, capacity, headSize })
  }

  /**
   * @param query [B, M, E] or [M, E]
   * @returns output of the query's shape
   * @throws {ShapeError} {OptionError} before anything is allocated; else as `runtime.attention`
   */
  override async forward<
    Weights extends boolean | WeightSelection = false,
    LogSumExp extends boolean = false,
    Statistics extends boolean = false,
  >(
    query: Tensor,
    options: MultiHeadAttentionForward & AskedResults<Weights, LogSumExp, Statistics> = {},
  ): Promise<WithAsked<MultiHeadAttentionResult, Weights, LogSumExp, Statistics>> {
    const { averageWeights = false } = options
    checkBoolean('MultiHeadAttention: option averageWeights', averageWeights)
    const { key, ...withoutKey } = options
    const others = [key, options.value].filter((each) => each !== undefined && each !== query) as Tensor[]
    const { output, exposed, report } = await this.run(query, key === query ? withoutKey : options, others)
    return { output, report, ...this.#details(query, options, exposed) } as never // it has what was asked for
  }

  /**
   * As for every layer, and dKey and dValue where a key or value of its own was given.
   *
   * @param query [B, M, E] or [M, E], as for `forward`
   * @param dOutput [B, M, E] or [M, E], as the query
   */
  override async backward(
    query: Tensor,
    dOutput: Tensor,
    options: MultiHeadAttentionForward & BackwardOptions = {},
  ): Promise<MultiHeadAttentionBackwardResult> {
    const { key, ...withoutKey } = options
    const call: MultiHeadAttentionForward & BackwardOptions = key === query ? withoutKey : options
    const names = [
      ...(call.key === undefined ? [] : ['key']),
      ...(call.value === undefined || call.value === call.key ? [] : ['value']),
    ]
    const {
      inputs: [dInput, ...others],
      gradients,
      report,
    } = await this.runBackward(query, dOutput, call, names)
    const shapeOf = (gradient: Tensor, like: Tensor | undefined): Tensor => ({
      data: gradient.data,
      shape: [...(like?.shape ?? gradient.shape)],
    })
    const found = new Map(names.map((name, index) => [name, others[index]]))
    const [dKey, dValue] = [found.get('key'), found.get('value')]
    return {
      ...(dInput === undefined ? {} : { dInput }),
      ...(dKey === undefined ? {} : { dKey: shapeOf(dKey, key) }),
      ...(dValue === undefined ? {} : { dValue: shapeOf(dValue, options.value) }),
      gradients,
      report,
    }
  }

  override build(graph: Graph, input: Value, options: MultiHeadAttentionForward = {}): Value {
    const sources = this.#sources(graph, input, options)
    return this.projectOut(graph, this.attendTo(graph, sources, options))
  }

  /**
   * The context [B, M, H·D] of already prepared rows.
   *
   * @param graph the graph that is built
   * @param sources rows of query, key and value
   */
  attendTo(graph: Graph, sources: AttentionSources, options: MultiHeadAttentionForward): Value {
    return this.attendProjected(graph, this.projectAll(graph, sources, options.cache), options)
  }

  /**
   * Queries, keys and values of the sources; with a cache, keys and values of all its rows.
   *
   * @param graph the graph that is built
   * @param sources rows [.., E] of query, key and value
   * @param cache where keys and values are kept
   */
  projectAll(graph: Graph, sources: AttentionSources, cache?: KeyValueCache): AttentionSources {
    const query = this.project(graph, 'query', sources.query)
    const key = this.project(graph, 'key', sources.key)
    const value = this.project(graph, 'value', sources.value)
    if (cache === undefined) return { query, key, value }
    const cached = cache.values(graph, graph.position)
    return {
      query,
      key: append(graph, key, cached.key, graph.positions),
      value: append(graph, value, cached.value, graph.positions),
    }
  }

  /**
   * The context of queries, keys and values.
   *
   * @param graph the graph that is built
   * @param sources projected queries, keys and values
   */
  attendProjected(graph: Graph, { query, key, value }: AttentionSources, options: MultiHeadAttentionForward): Value {
    const { heads, keyValueHeads, headSize } = this
    const sizes: LayerAttentionSizes = {
      batch: query.batch,
      heads,
      keyValueHeads,
      queries: query.rows,
      keys: key.rows,
      headSize,
    }
    const extras = { positions: graph.positions, dropout: this.dropout, seed: this.attentionSeed(graph.seed) }
    // Rows that are kept for later ones do not look ahead, unless they are told to.
    const causal = options.causal ?? (options.cache === undefined ? undefined : true)
    const own = causal === undefined ? options : { ...options, causal }
    const attention = { ...toAttentionOptions(graph.scope, sizes, own, extras), ...detailsOf(options) }
    const { context, results } = attend(
      graph,
      { query, key, value },
      { heads, keyHeads: keyValueHeads },
      resolveLayerAttention(sizes, attention),
    )
    for (const [name, result] of results) graph.expose(name, result)
    const weights = results.get('weights')
    if (weights !== undefined) graph.trace('weights', weights, [query.batch, heads, query.rows, key.rows])
    graph.trace('context', context, [query.batch, heads, query.rows, headSize])
    return context
  }

  protected override get optionNames(): readonly string[] {
    return NAMES
  }

  protected override cachesOf({ cache }: MultiHeadAttentionForward): readonly CacheUse[] {
    return cache === undefined ? [] : [{ cache, keyValueHeads: this.keyValueHeads, headSize: this.headSize }]
  }

  #sources(graph: Graph, query: Value, options: MultiHeadAttentionForward): AttentionSources {
    const { key, value, cache } = options
    if (cache !== undefined) this.#checkCache(options)
    const source = (name: 'key' | 'value', tensor: Tensor): Value => {
      const { data, shape } = readRows(`MultiHeadAttention: ${name}`, tensor, this.modelDim)
      return graph.input(
        name,
        { ...rowsOfShape(`MultiHeadAttention: ${name}`, shape, this.modelDim), width: this.modelDim },
        data,
      )
    }
    const keys = key === undefined ? query : source('key', key)
    const values = value === undefined || value === key ? keys : source('value', value)
    if (keys.batch !== query.batch)
      throw new ShapeError(`MultiHeadAttention: expected key of batch ${query.batch} like query, got ${keys.batch}`)
    if (values.batch !== query.batch || values.rows !== keys.rows) {
      throw new ShapeError(
        `MultiHeadAttention: expected value [${query.batch}, ${keys.rows}, ${this.modelDim}] like key, got [${values.batch}, ${values.rows}, ${values.width}]`,
      )
    }
    return { query, key: keys, value: values }
  }

  #checkCache({ key, value, returnWeights, returnLogSumExp, returnStatistics }: MultiHeadAttentionForward): void {
    if (key !== undefined || value !== undefined)
      throw new OptionError('MultiHeadAttention: expected option cache with self-attention, got a key or value with it')
    if (Boolean(returnWeights) || returnLogSumExp === true || returnStatistics === true) {
      throw new OptionError(
        'MultiHeadAttention: expected no weights, log-sum-exp or statistics with option cache; a full forward pass returns them',
      )
    }
  }

  #details(
    query: Tensor,
    options: MultiHeadAttentionForward,
    exposed: ReadonlyMap<string, TensorData>,
  ): Omit<MultiHeadAttentionResult, keyof LayerResult> {
    const { batch, rows } = rowsOfShape('MultiHeadAttention: query', query.shape, this.modelDim)
    const floats = (name: string): Tensor => ({
      data: exposed.get(name) as Float32Array,
      shape: [batch, this.heads, rows],
    })
    const weights = exposed.get('weights') as Float32Array | undefined
    const keys = options.key === undefined ? rows : (options.key.shape.at(-2) ?? 0)
    return {
      ...(weights === undefined ? {} : { weights: this.#weights(weights, [batch, this.heads, rows, keys], options) }),
      ...(exposed.has('logSumExp') ? { logSumExp: floats('logSumExp') } : {}),
      ...(exposed.has('entropy')
        ? {
            statistics: {
              entropy: floats('entropy'),
              maxWeight: floats('maxWeight'),
              meanDistance: floats('meanDistance'),
              maxIndex: { data: exposed.get('maxIndex') as Int32Array, shape: [batch, this.heads, rows] },
            },
          }
        : {}),
    }
  }

  #weights(
    data: Float32Array,
    shape: readonly [number, number, number, number],
    { returnWeights, averageWeights }: MultiHeadAttentionForward,
  ): Tensor {
    const weights = typeof returnWeights === 'object' ? inCallerOrder(data, shape, returnWeights) : { data, shape }
    return averageWeights === true ? averageOverHeads(weights) : weights
  }
}

function detailsOf({ returnWeights, returnLogSumExp, returnStatistics }: AttentionDetails): AttentionDetails {
  return {
    ...(returnWeights === undefined ? {} : { returnWeights }),
    ...(returnLogSumExp === undefined ? {} : { returnLogSumExp }),
    ...(returnStatistics === undefined ? {} : { returnStatistics }),
  }
}
