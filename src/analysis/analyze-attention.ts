import { checkShapes } from '../attention/attention-call.ts'
import { defaultRuntime } from '../attention/default-runtime.ts'
import type { Strides } from '../attention/layout.ts'
import { restateOptions } from '../attention/restate-options.ts'
import type { Runtime } from '../attention/runtime.ts'
import type { WeightOptions } from '../attention/weight-options.ts'
import { throwIfAborted } from '../core/abort.ts'
import { checkNames } from '../core/check.ts'
import { OptionError, ShapeError } from '../core/errors.ts'
import { checkTensor, readTensor, formatShape, type Tensor } from '../core/tensor.ts'
import {
  ANALYSIS_NAMES,
  resolveAnalysis,
  WEIGHT_NAMES,
  type AnalysisOptions,
  type ResolvedAnalysis,
} from './analysis-options.ts'
import { analyzeCase, caseCalls } from './analyze-case.ts'
import { shared, type AttentionCase } from './attention-case.ts'
import { ProgressCount } from './progress-count.ts'
import type { AttentionAnalysis } from './report.ts'

/** What attention reads, and what its positions stand for. */
export interface AnalyzedInputs {
  /** in any layout of `attention` */
  readonly query: Tensor
  /** [.., N, D], in the layout of `query` */
  readonly key: Tensor
  /** [B, N] or [N], for scores that depend on tokens; self-attention only */
  readonly tokens?: Tensor<Int32Array>
}

/** What `analyzeAttention` takes: how to analyze, and the options of attention that decide about its weights. */
export interface AnalyzeAttentionOptions extends AnalysisOptions {
  /** Options of the attention that is analyzed, such as `causal`. @default none */
  readonly attention?: WeightOptions
}

const WHAT = 'analyzeAttention'

/**
 * What each head of an attention looks at, as scores beside their baselines, roles, heatmaps and distances between
 * heads. Everything comes from calls of `attention` with other masks and values, and from Pᵀ·X, so memory is linear in
 * the number of rows and keys: 2·n·E for copies in another order, n·H·(heatmapSize + 8) for results, and rows·H·n for
 * the weights of the rows on which heads are compared. Bits depend on neither pool nor chunk size.
 *
 * @param inputs query and key in any layout of `attention`; tokens for the scores that need them
 * @throws {ShapeError} {OptionError} when something does not fit; before anything is allocated
 * @throws {NumericError} when weights are NaN; names the head
 * @throws as `runtime.attention` does
 *
 * @example
 * ```js
 * import { tensor } from 'heddle'
 * import { analyzeAttention } from 'heddle/analysis'
 *
 * const x = tensor(Float32Array.from({ length: 100 * 64 }, (_, i) => Math.sin(i)), [1, 2, 50, 64]) // two heads
 * const { heads } = await analyzeAttention({ query: x, key: x }, { attention: { causal: true } })
 * console.log(heads.length, heads[0].scores.entropy.value > 0) // 2 true
 * ```
 */
export async function analyzeAttention(
  inputs: AnalyzedInputs,
  options: AnalyzeAttentionOptions = {},
): Promise<AttentionAnalysis> {
  const call = checkInputs(inputs, options)
  const { analysis, tokens } = call
  throwIfAborted(analysis.signal)
  const runtime = options.runtime ?? (await defaultRuntime())
  const progress = new ProgressCount(caseCalls(analysis, tokens), analysis.onProgress)
  return (await analyzeCase(caseOf(inputs, call, runtime), progress.host(runtime, analysis.signal), analysis, tokens))
    .analysis
}

/** A call after all checks. */
interface CheckedInputs {
  readonly attention: WeightOptions
  readonly analysis: ResolvedAnalysis
  readonly tokens: Int32Array | null
}

function checkInputs(inputs: AnalyzedInputs, options: AnalyzeAttentionOptions): CheckedInputs {
  inputs = checkNames(`${WHAT}: inputs`, inputs, ['query', 'key', 'tokens'])
  options = checkNames(`${WHAT}: options`, options, [...ANALYSIS_NAMES, 'attention'])
  const { attention = {} } = options
  checkNames(`${WHAT}: option attention`, attention, WEIGHT_NAMES)
  checkTensor(`${WHAT}: query`, Float32Array, inputs.query)
  checkTensor(`${WHAT}: key`, Float32Array, inputs.key)
  const {
    layout: { sizes },
  } = checkShapes(shapesOf(inputs), attention)
  const tokens = inputs.tokens === undefined ? null : checkTokens(WHAT, inputs.tokens, sizes, attention.queryOffset)
  return { attention, analysis: resolveAnalysis(WHAT, options, sizes), tokens }
}

function shapesOf({ query, key }: AnalyzedInputs): {
  readonly query: readonly number[]
  readonly key: readonly number[]
  readonly value: readonly number[]
} {
  return { query: query.shape, key: key.shape, value: key.shape }
}

/** @throws {ShapeError} {OptionError} unless there is a token per position, and queries stand where keys do */
export function checkTokens(
  what: string,
  tokens: Tensor<Int32Array>,
  sizes: { readonly batch: number; readonly queries: number; readonly keys: number },
  queryOffset: WeightOptions['queryOffset'],
): Int32Array {
  const { data, shape } = readTensor(`${what}: tokens`, Int32Array, tokens)
  const { batch, queries, keys } = sizes
  const offsets = typeof queryOffset === 'object' ? [...queryOffset] : [queryOffset ?? 0]
  if (queries !== keys || offsets.some((offset) => offset !== 0)) {
    throw new OptionError(
      `${what}: expected tokens with self-attention, whose queries and keys have the same positions, got ${queries} queries at ${offsets.join(', ')} and ${keys} keys`,
    )
  }
  const fits =
    shape.length === 2
      ? shape[0] === batch && shape[1] === keys
      : shape.length === 1 && batch === 1 && shape[0] === keys
  if (!fits)
    throw new ShapeError(`${what}: expected tokens of shape ${formatShape([batch, keys])}, got ${formatShape(shape)}`)
  return data
}

function caseOf(inputs: AnalyzedInputs, { attention }: CheckedInputs, runtime: Runtime): AttentionCase {
  const { layout, options } = checkShapes(shapesOf(inputs), attention)
  const { sizes } = layout
  const { batch, heads, keyValueHeads, queries, keys, headSize } = sizes
  return {
    what: WHAT,
    sizes,
    query: headsFirst(inputs.query, layout.query, [batch, heads, queries, headSize], runtime),
    key: headsFirst(inputs.key, layout.key, [batch, keyValueHeads, keys, headSize], runtime),
    options: restateOptions(options, sizes),
  }
}

/** The tensor as [B, H, N, D], in shared memory where the host has it. */
function headsFirst(
  { data }: Tensor,
  strides: Strides,
  shape: readonly [number, number, number, number],
  runtime: Runtime,
): Tensor {
  const [batch, heads, rows, size] = shape
  if (heads === 1 || strides.row === size) return shared(runtime, { data, shape })
  const result = runtime.tensor(shape)
  let to = 0
  for (let b = 0; b < batch; b++) {
    for (let head = 0; head < heads; head++) {
      for (let row = 0; row < rows; row++, to += size) {
        const from = b * strides.batch + head * strides.head + row * strides.row
        result.data.set(data.subarray(from, from + size), to)
      }
    }
  }
  return result
}
