import { defaultRuntime } from '../attention/default-runtime.ts'
import type { Runtime } from '../attention/runtime.ts'
import { throwIfAborted } from '../core/abort.ts'
import { checkedSignal, checkNames, expected } from '../core/check.ts'
import { OptionError } from '../core/errors.ts'
import type { SeedWords } from '../core/philox.ts'
import type { Tensor } from '../core/tensor.ts'
import { dropoutSeed } from '../nn/forward-options.ts'
import { Module, type AnyModule } from '../nn/module.ts'
import { gradientTensor } from '../nn/run-backward.ts'
import { gradientProgram, type ForwardGraph } from '../program/gradient-program.ts'
import { readParameters } from '../program/parameter-access.ts'
import type { Parameter } from '../program/parameter.ts'
import { runProgram, type LayerReport } from '../program/run.ts'
import { checkBatch, type Batch } from './batch.ts'
import { batchPart, sequencesOfBatch } from './batch-part.ts'
import type { GradientOptions, GradientResult } from './gradient-call.ts'
import { modelGraph, rowLosses } from './loss-graph.ts'
import { checkLoss, countTargets, type Loss } from './losses.ts'

/** A small model's batch is cut into so many runs at most, where as many copies of its gradients fit this. */
const MOST_RUNS = 8
const MOST_COPIES_BYTES = 2 ** 24

/**
 * The mean loss of a model over a batch's targets, and its gradients with respect to the parameters. Memory is linear in the
 * number of rows. The model's mode decides about dropout. Bits depend on model and batch alone: of a small model each lane
 * takes whole sequences, up to eight runs of them, and the runs' gradients are added in order.
 *
 * @param model its output is [B, M, V] logits for `crossEntropy`, [B, M, E] for `meanSquaredError`
 * @throws {OptionError} {ShapeError} {NumericError} for a batch that does not fit the model or the loss, before anything is
 * allocated; says which position and value
 * @throws {MemoryBudgetError} when nothing fits the budget; says which one would do
 */
export async function lossAndGradients(model: AnyModule, batch: Batch, options: GradientOptions): Promise<GradientResult> {
  const call = checkCall(model, batch, options)
  const runtime = options.runtime ?? (await defaultRuntime())
  throwIfAborted(options.signal)
  return readParameters(model.parameters(), async () => mergeRuns(call, await allRuns(call, runtime)))
}

/** A call after all checks. */
interface Call {
  readonly model: AnyModule
  readonly batch: Batch
  readonly loss: Loss
  readonly seed: SeedWords | null
  readonly signal: AbortSignal | undefined
  readonly sequences: number
  readonly counted: number
  /** whose gradients are wanted, by name */
  readonly wanted: ReadonlyMap<string, Parameter>
}

function checkCall(model: unknown, batch: Batch, options: GradientOptions): Call {
  if (!(model instanceof Module)) throw expected('lossAndGradients: model', 'a Module', model)
  checkNames('lossAndGradients: options', options, ['loss', 'seed', 'runtime', 'signal', 'only'])
  const { loss, runtime } = options
  checkLoss('lossAndGradients: option loss', loss)
  if (runtime !== undefined && typeof (runtime as Partial<Runtime> | null)?.stageHost !== 'function') throw expected('lossAndGradients: option runtime', 'a runtime made by createRuntime', runtime)
  const signal = checkedSignal('lossAndGradients: option signal', options.signal)
  const wanted = wantedParameters(model, options.only)
  const rows = checkBatch('lossAndGradients: batch', batch)
  const seed = dropoutSeed('lossAndGradients', model.drops, options.seed)
  const { output } = modelGraph(model, batch, seed, 0)
  const counted = countTargets(loss, batch, [...rows, output.width])
  return { model, batch, loss, seed, signal, sequences: sequencesOfBatch(rows), counted, wanted }
}

function wantedParameters(model: AnyModule, only: unknown): Map<string, Parameter> {
  const named = model.namedParameters()
  if (only === undefined) return named
  if (!Array.isArray(only)) throw expected('lossAndGradients: option only', 'an array of parameter names', only)
  const unknown = only.filter((name: unknown) => !named.has(name as string))
  if (unknown.length > 0) throw new OptionError(`lossAndGradients: option only: expected names of the model's parameters, got ${unknown.map((name) => JSON.stringify(name)).join(', ')}`)
  return new Map([...named].filter(([name]) => only.includes(name)))
}

/** The losses of a run's rows, and its share of the gradients. */
interface RunResult {
  readonly losses: Float32Array
  readonly gradients: Map<string, Tensor>
  readonly report: LayerReport
}

/** In order. As many at a time as there are lanes; with a memory budget, as many as it holds. */
async function allRuns(call: Call, runtime: Runtime): Promise<RunResult[]> {
  const runs = runsOf(call)
  const results: RunResult[] = []
  const next = runs.entries()
  const lanes = runtime.stageHost().pool.lanes().length
  const abort = new AbortController()
  const signal = call.signal === undefined ? abort.signal : AbortSignal.any([call.signal, abort.signal])
  const work = async (): Promise<void> => {
    for (const [index, { first, count }] of next) results[index] = await oneRun(call, runtime, { first, count, mostLanes: runs.length > 1 ? 1 : lanes, signal })
  }
  const atOnce = runs.length === 1 || runtime.stageHost().budgetIsGiven ? 1 : Math.min(lanes, runs.length)
  try {
    await Promise.all(Array.from({ length: atOnce }, work))
  } catch (error) {
    abort.abort(error)
    throw error
  }
  return results
}

/** Whole sequences, by the shape of the call alone. */
function runsOf({ model, sequences, wanted }: Call): { readonly first: number; readonly count: number }[] {
  const copies = MOST_RUNS * model.numParameters() * Float32Array.BYTES_PER_ELEMENT
  const runs = wanted.size === 0 || copies > MOST_COPIES_BYTES ? 1 : Math.max(1, Math.min(MOST_RUNS, sequences))
  const start = (run: number): number => Math.floor((sequences * run) / runs)
  return Array.from({ length: runs }, (_, run) => ({ first: start(run), count: start(run + 1) - start(run) }))
}

interface RunOptions {
  readonly first: number
  readonly count: number
  readonly mostLanes: number
  readonly signal: AbortSignal
}

async function oneRun({ model, batch, loss, seed, sequences, counted, wanted }: Call, runtime: Runtime, { first, count, mostLanes, signal }: RunOptions): Promise<RunResult> {
  const part = count === sequences ? batch : batchPart(batch, first, count, sequences)
  const parameters = new Set(wanted.values())
  const build = (): ForwardGraph => {
    const forward = modelGraph(model, part, seed, first)
    return { graph: forward.graph, seeds: new Map(), losses: [rowLosses(forward, loss, part, 1 / counted)], inputs: [], parameters }
  }
  const { program, parameters: gradients } = gradientProgram(build, runtime, { chunkSize: undefined, mostLanes })
  const { data, report } = await runProgram(program, runtime, { signal, chunkSize: undefined, mostLanes, sharedOutput: false, plainResults: program.results.length })
  const [losses] = data
  return {
    losses: losses as Float32Array,
    gradients: new Map([...wanted].map(([name, parameter]) => [name, gradientTensor(parameter, gradients.get(parameter), (value) => data[program.results.indexOf(value)] as Float32Array)])),
    report,
  }
}

/** Row losses are added in float64 in the order of the rows; gradients in the order of the runs. */
function mergeRuns({ counted }: Call, runs: readonly RunResult[]): GradientResult {
  let sum = 0
  for (const { losses } of runs) for (const loss of losses) sum += loss
  const [{ gradients, report }, ...others] = runs as [RunResult, ...RunResult[]]
  for (const { gradients: more } of others) {
    for (const [name, { data }] of gradients) {
      const part = (more.get(name) as Tensor).data
      for (let element = 0; element < data.length; element++) data[element] = (data[element] ?? 0) + (part[element] ?? 0)
    }
  }
  return { loss: sum / counted, counted, gradients, report: others.length === 0 ? report : mergeReports(runs.map((run) => run.report)) }
}

/** One plan stands for all. Memory is that of all runs together, which is never all in use at once. */
function mergeReports(reports: readonly LayerReport[]): LayerReport {
  const [first] = reports as [LayerReport, ...LayerReport[]]
  const total = (pick: (report: LayerReport) => number): number => reports.reduce((sum, report) => sum + pick(report), 0)
  const fallbacks = new Map(reports.flatMap((report) => report.fallbacks).map((fallback) => [`${fallback.what} ${fallback.reason}`, fallback]))
  return {
    plan: first.plan,
    elapsedMs: Math.max(...reports.map(({ elapsedMs }) => elapsedMs)),
    lanes: reports.flatMap(({ lanes }) => lanes),
    retries: total(({ retries }) => retries),
    fallbacks: [...fallbacks.values()],
    memory: { plannedBytes: total(({ memory }) => memory.plannedBytes), peakBytes: total(({ memory }) => memory.peakBytes), peakByPurpose: first.memory.peakByPurpose },
  }
}
