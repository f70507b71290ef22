import { defaultRuntime } from '../attention/default-runtime.ts'
import { restateOptions } from '../attention/restate-options.ts'
import type { Runtime } from '../attention/runtime.ts'
import { throwIfAborted } from '../core/abort.ts'
import { checkInteger, checkNames, expected } from '../core/check.ts'
import { OptionError } from '../core/errors.ts'
import type { Tensor } from '../core/tensor.ts'
import { Module, type AnyModule } from '../nn/module.ts'
import type { TracedAttention } from '../nn/trace-attention.ts'
import { ANALYSIS_NAMES, resolveAnalysis, type AnalysisOptions, type ResolvedAnalysis } from './analysis-options.ts'
import { checkTokens } from './analyze-attention.ts'
import { analyzeCase, caseCalls } from './analyze-case.ts'
import { shared } from './attention-case.ts'
import { ProgressCount } from './progress-count.ts'
import type { LayerAnalysis, ModelAnalysis } from './report.ts'
import { Rollout } from './rollout.ts'

/** What `analyzeModel` takes. */
export interface AnalyzeModelOptions extends AnalysisOptions {
  /** What the model's `forward` takes beside the runtime: `segments` of a language model, masks of an encoder. */
  readonly forward?: object
  /** [B, M] or [M]: tokens of a model whose input is rows. @default the input, where it is tokens */
  readonly tokens?: Tensor<Int32Array>
  /** Rows whose attention is followed back through all layers; none leaves that out. @default the last row */
  readonly rollout?: readonly number[]
}

const WHAT = 'analyzeModel'
const NAMES = [...ANALYSIS_NAMES, 'forward', 'tokens', 'rollout']

/**
 * What every head of every layer looks at: `analyzeAttention` for each attention of a forward pass, whatever layers it
 * is made of, and attention rollout through all of them. The model runs once, in evaluation mode, up to its last
 * attention. Memory: 2·M·E numbers per layer for queries and keys, beside what one analysis takes; never M².
 *
 * @param model any module with attention inside
 * @param input tokens [B, M] or [M], or rows [B, M, E] or [M, E], as the model takes them
 * @throws {OptionError} {ShapeError} where something does not fit, or the model has no attention
 * @throws {NumericError} when weights are NaN; names layer and head
 * @throws as the model's `forward` does
 *
 * @example
 * ```js
 * import { tensor } from 'heddle'
 * import { analyzeModel } from 'heddle/analysis'
 * import { CausalLanguageModel } from 'heddle/nn'
 *
 * const model = new CausalLanguageModel({ vocabulary: 20, modelDim: 32, heads: 2, layers: 2, seed: 1 })
 * const tokens = tensor(Int32Array.from({ length: 60 }, (_, i) => i % 20), [60])
 * const { layers } = await analyzeModel(model, tokens)
 * for (const { index, heads } of layers)
 *   for (const { head, scores } of heads) console.log(`${index}.${head}`, scores.induction)
 * ```
 */
export async function analyzeModel(
  model: AnyModule,
  input: Tensor | Tensor<Int32Array>,
  options: AnalyzeModelOptions = {},
): Promise<ModelAnalysis> {
  if (!(model instanceof Module)) throw expected(`${WHAT}: model`, 'a Module', model)
  options = checkNames(`${WHAT}: options`, options, NAMES)
  const { batch, rows } = rowsOf(input)
  const analysis = resolveAnalysis(WHAT, options, { batch, queries: rows, keys: rows })
  const wanted = rolloutRows(options.rollout, rows)
  throwIfAborted(analysis.signal)
  const runtime = options.runtime ?? (await defaultRuntime())
  const startMs = performance.now()
  const traced = await inEvaluation(model, () =>
    model.traceAttention(input, {
      ...options.forward,
      runtime,
      ...(analysis.signal === undefined ? {} : { signal: analysis.signal }),
    }),
  )
  const forwardMs = performance.now() - startMs
  if (traced.length === 0) throw new OptionError(`${WHAT}: expected a model with attention, got ${model.label} without`)
  const found = await analyzeLayers({ traced, tokens: tokensOf(input, options.tokens), analysis, wanted }, runtime)
  return {
    format: 'heddle-model-analysis/1',
    model: model.label,
    sequences: batch,
    length: rows,
    ...found,
    forwardMs,
    elapsedMs: performance.now() - startMs,
  }
}

/** B and M of tokens [B, M] or [M], or of rows with one dimension more; the model checks the rest. */
function rowsOf(input: unknown): { readonly batch: number; readonly rows: number } {
  const { data, shape } = (input ?? {}) as Partial<Tensor | Tensor<Int32Array>>
  if (!(data instanceof Int32Array) && !(data instanceof Float32Array))
    throw expected(`${WHAT}: input`, 'a tensor of tokens (Int32Array) or rows (Float32Array)', input)
  const lead = data instanceof Int32Array ? shape : shape?.slice(0, -1)
  const [rows = 0, batch = 1] = lead?.toReversed() ?? []
  if (rows < 2)
    throw new OptionError(
      `${WHAT}: expected a sequence of two positions or more, got ${rows}: attention over fewer has nothing to choose from`,
    )
  return { batch, rows }
}

function rolloutRows(wanted: unknown, rows: number): readonly number[] {
  if (wanted === undefined) return [rows - 1]
  if (!Array.isArray(wanted)) throw expected(`${WHAT}: option rollout`, 'a list of rows', wanted)
  for (const row of wanted as unknown[]) checkInteger(`${WHAT}: option rollout`, row, 0, rows - 1)
  return wanted as number[]
}

function tokensOf(
  input: Tensor | Tensor<Int32Array>,
  given: Tensor<Int32Array> | undefined,
): Tensor<Int32Array> | undefined {
  return given ?? (input.data instanceof Int32Array ? { data: input.data, shape: input.shape } : undefined)
}

async function inEvaluation<T>(model: AnyModule, run: () => Promise<T>): Promise<T> {
  const before = model.training
  model.eval()
  try {
    return await run()
  } finally {
    model.train(before)
  }
}

interface LayersCall {
  readonly traced: readonly TracedAttention[]
  readonly tokens: Tensor<Int32Array> | undefined
  readonly analysis: ResolvedAnalysis
  /** rows of the rollout */
  readonly wanted: readonly number[]
}

/** From the last layer to the first, as rollout goes. */
async function analyzeLayers(
  { traced, tokens, analysis, wanted }: LayersCall,
  runtime: Runtime,
): Promise<Pick<ModelAnalysis, 'layers' | 'rollout'>> {
  const square = traced.every(({ sizes }) => sizes.queries === sizes.keys && sizes.queries === traced[0]?.sizes.queries)
  const rollout = wanted.length > 0 && square ? new Rollout(wanted, traced[0]?.sizes.keys ?? 0, analysis) : null
  const self = traced.map(({ sizes }) =>
    tokens !== undefined && sizes.queries === sizes.keys ? checkTokens(WHAT, tokens, sizes, 0) : null,
  )
  const progress = new ProgressCount(
    self.reduce((sum, each) => sum + caseCalls(analysis, each, rollout !== null), 0),
    analysis.onProgress,
  )
  const host = progress.host(runtime, analysis.signal)
  const layers: LayerAnalysis[] = []
  for (let index = traced.length - 1; index >= 0; index--) {
    const { layer, sizes, query, key, options } = traced[index] as TracedAttention
    const attention = {
      what: `${WHAT}: layer ${index} (${layer})`,
      sizes,
      query: shared(runtime, query),
      key: shared(runtime, key),
      options: restateOptions(options, sizes),
    }
    const found = await analyzeCase(attention, host, analysis, self[index] ?? null, rollout?.columns(sizes, runtime))
    if (rollout !== null && found.carried !== null) await rollout.follow(found.carried, sizes, host.loop)
    layers.unshift({ index, layer, ...found.analysis })
  }
  return { layers, rollout: rollout === null ? null : await rollout.report(layers[0]?.axes.keys ?? [], host.loop) }
}
