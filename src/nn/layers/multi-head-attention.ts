import type { AttentionStatistics } from '../../attention/attention-options.ts'
import { checkBoolean } from '../../core/check.ts'
import { OptionError, ShapeError } from '../../core/errors.ts'
import type { Runtime } from '../../attention/runtime.ts'
import type { Tensor } from '../../core/tensor.ts'
import { checkForward, checkRows, dropoutSeed, planForward, rowsOfShape, runForward, type ForwardOptions, type LayerResult } from '../forward-options.ts'
import type { CachedRows, KeyValueCache } from '../key-value-cache.ts'
import { RowBuffer } from '../stage/buffers.ts'
import type { LayerPlan } from '../stage/program-plan.ts'
import type { StageProgram } from '../stage/program.ts'
import type { ProgramResult } from '../stage/run-program.ts'
import { StageBuilder } from '../stage/stage-builder.ts'
import { attentionPass, type AttentionDetails, type SourceRows } from './attention-pass.ts'
import { AttentionProjections } from './attention-projections.ts'
import { LAYER_ATTENTION_NAMES, type LayerAttentionOptions } from './layer-attention-options.ts'

/** What `MultiHeadAttention.forward` takes. */
export interface MultiHeadAttentionForward extends ForwardOptions, LayerAttentionOptions, AttentionDetails {
  /** [B, N, E]: what is attended. @default the query: self-attention */
  readonly key?: Tensor
  /** @default the key */
  readonly value?: Tensor
  /** Weights as their mean over the heads, [B, M, N], as PyTorch returns them. @default false */
  readonly averageWeights?: boolean
  /** Keys and values of earlier rows; those of this call are added behind them. Self-attention only. */
  readonly cache?: KeyValueCache
}

export interface MultiHeadAttentionResult extends LayerResult {
  /** before dropout: [B, H, M, N], [B, heads, rows, N] of those chosen, or [B, M, N] where averaged */
  readonly weights?: Tensor
  /** [B, H, M] */
  readonly logSumExp?: Tensor
  readonly statistics?: AttentionStatistics
}

const NAMES: readonly string[] = [...LAYER_ATTENTION_NAMES, 'key', 'value', 'averageWeights', 'cache', 'returnWeights', 'returnLogSumExp', 'returnStatistics']

/** The rows of a call. */
interface Sources {
  readonly query: RowBuffer
  /** null: the query */
  readonly key: RowBuffer | null
  /** null: the key */
  readonly value: RowBuffer | null
  readonly cache: CachedRows | null
}

/**
 * Concat(head₁ … head_H)·W_Oᵀ + b_O, head_h = softmax(Q_h·K_hᵀ/√D + …)·V_h (Vaswani et al. 2017, §3.2.2), with
 * Q = x·W_Qᵀ + b_Q and so on. Memory beyond input and output: queries, keys and values, O(n·E); never n².
 */
export class MultiHeadAttention extends AttentionProjections {
  /**
   * @param query [B, M, E] or [M, E]
   * @returns output of the query's shape
   * @throws {ShapeError} {OptionError} before anything is allocated; else as `runtime.attention`
   */
  async forward(query: Tensor, options: MultiHeadAttentionForward = {}): Promise<MultiHeadAttentionResult> {
    checkForward('MultiHeadAttention', options, NAMES)
    if (options.cache !== undefined) this.#checkCache(query, options)
    const { data, attention, report } = await this.#run({ data: query.data, shape: [...query.shape] }, { ...options })
    const [details] = attention
    const weights = details?.weights
    return {
      output: { data, shape: [...query.shape] },
      report,
      ...(weights === undefined ? {} : { weights: options.averageWeights === true ? meanOverHeads(weights) : weights }),
      ...(details?.logSumExp === undefined ? {} : { logSumExp: details.logSumExp }),
      ...(details?.statistics === undefined ? {} : { statistics: details.statistics }),
    }
  }

  /** What `forward` would do and hold for a query of this shape, self-attention. @throws {MemoryBudgetError} when nothing fits */
  plan(runtime: Runtime, shape: readonly number[], options: LayerAttentionOptions & AttentionDetails = {}): LayerPlan {
    const { batch, rows } = rowsOfShape('MultiHeadAttention: query', shape, this.modelDim)
    return planForward(this.#build({ query: new RowBuffer('input', batch, rows, this.modelDim, null, true), key: null, value: null, cache: null }, options, null), runtime)
  }

  /** Behind earlier calls on the cache, if there is one: the program is made at once, and again only if one of them failed. */
  #run(query: Tensor, options: MultiHeadAttentionForward): Promise<ProgramResult> {
    const { key, value, cache, signal } = options
    const inputs = [query, ...(key === undefined ? [] : [key]), ...(value === undefined ? [] : [value])]
    const cached = cache?.upcoming() ?? null
    const program = this.#program(query, options, cached)
    if (cache === undefined) return runForward(program, options, inputs)
    return cache.append(program.output.rows, signal, (length) => runForward(length === cached?.length ? program : this.#program(query, options, cache), options, inputs))
  }

  #program(query: Tensor, options: MultiHeadAttentionForward, cache: CachedRows | null): StageProgram {
    const { key, value, averageWeights } = options
    if (averageWeights !== undefined) checkBoolean('MultiHeadAttention: option averageWeights', averageWeights)
    const seed = dropoutSeed('MultiHeadAttention', this.drops, options.seed)
    const source = (name: string, tensor: Tensor): RowBuffer => {
      const { batch, rows } = checkRows(`MultiHeadAttention: ${name}`, tensor, this.modelDim)
      return new RowBuffer(name, batch, rows, this.modelDim, tensor.data)
    }
    const rows = source('query', query)
    const keys = key === undefined || key === query ? null : source('key', key)
    const values = value === undefined || value === key ? null : source('value', value)
    this.#checkSources(rows, keys, values)
    return this.#build({ query: rows, key: keys, value: values, cache }, options, seed)
  }

  #build({ query, key, value, cache }: Sources, options: MultiHeadAttentionForward, seed: ReturnType<typeof dropoutSeed>): StageProgram {
    const name = 'MultiHeadAttention'
    const source = (buffer: RowBuffer): SourceRows => ({ buffer, prepare: (_builder, loaded) => loaded })
    const { returnWeights, returnLogSumExp, returnStatistics } = options
    const details = {
      ...(returnWeights === undefined ? {} : { returnWeights }),
      ...(returnLogSumExp === undefined ? {} : { returnLogSumExp }),
      ...(returnStatistics === undefined ? {} : { returnStatistics }),
    }
    const pass = attentionPass(this, {
      name,
      query: source(query),
      ...(key === null ? {} : { key: source(key) }),
      ...(value === null ? {} : { value: source(value) }),
      options,
      details,
      cache,
      seed,
    })
    const output = new RowBuffer('output', query.batch, query.rows, this.modelDim)
    const builder = new StageBuilder(name, query.batch, query.rows)
    builder.store(this.projectOut(builder, pass.begin(builder)), output)
    const last = builder.finish()
    return { parts: [...pass.parts, last], output, watched: [{ layer: name, after: last, input: query, output }] }
  }

  #checkCache(query: Tensor, { key, value, cache, returnWeights, returnLogSumExp, returnStatistics }: MultiHeadAttentionForward): void {
    if (key !== undefined || value !== undefined) throw new OptionError('MultiHeadAttention: expected option cache with self-attention, got a key or value beside it')
    if (Boolean(returnWeights) || returnLogSumExp === true || returnStatistics === true) {
      throw new OptionError('MultiHeadAttention: expected no weights, log-sum-exp or statistics with option cache; a full forward pass returns them')
    }
    const { batch, rows } = checkRows('MultiHeadAttention: query', query, this.modelDim)
    cache?.checkRoom('MultiHeadAttention', batch, this.keyValueHeads, this.headSize, rows)
  }

  #checkSources(query: RowBuffer, key: RowBuffer | null, value: RowBuffer | null): void {
    const keys = key ?? query
    if (keys.batch !== query.batch) throw new ShapeError(`MultiHeadAttention: expected key of batch ${query.batch} like query, got ${keys.batch}`)
    if (value !== null && (value.batch !== query.batch || value.rows !== keys.rows)) {
      throw new ShapeError(`MultiHeadAttention: expected value [${query.batch}, ${keys.rows}, ${this.modelDim}] like key, got [${value.batch}, ${value.rows}, ${value.width}]`)
    }
  }
}

/** [B, H, M, N] to [B, M, N]. */
function meanOverHeads({ data, shape }: Tensor): Tensor {
  const [batch = 0, heads = 0, rows = 0, keys = 0] = shape
  const mean = new Float32Array(batch * rows * keys)
  const elements = rows * keys
  for (let b = 0; b < batch; b++) {
    for (let element = 0; element < elements; element++) {
      let sum = 0
      for (let h = 0; h < heads; h++) sum += data[(b * heads + h) * elements + element] ?? 0
      mean[b * elements + element] = sum / heads
    }
  }
  return { data: mean, shape: [batch, rows, keys] }
}
