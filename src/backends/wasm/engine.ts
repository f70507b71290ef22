import { attentionArena, startingArenaBytes } from '../../plan/arena.ts'
import { backwardArena, type BackwardArena } from '../../plan/backward-arena.ts'
import { BackendUnavailableError } from '../../core/errors.ts'
import type {
  AttentionBackwardResult,
  AttentionBackwardTask,
  AttentionBiasResult,
  AttentionBiasTask,
  AttentionTransposedResult,
  AttentionTransposedTask,
  BiasPart,
  KeySegmentTask,
} from '../../protocol/backward-task.ts'
import type { LaterKernels } from '../../protocol/messages.ts'
import type { AttentionHeadsResult, AttentionHeadsTask } from '../../protocol/heads-task.ts'
import type { RowStageResult, RowStageTask } from '../../protocol/stage.ts'
import type { SumResult, SumWork } from '../../protocol/sums.ts'
import type { AttentionTask, AttentionTaskResult } from '../../protocol/task.ts'
import type { Backend, TaskContext } from '../backend.ts'
import { Arena } from './arena.ts'
import { AttentionRun } from './attention-run.ts'
import { BiasSweep } from './bias-sweep.ts'
import { HeadsSweep } from './heads-sweep.ts'
import { joinHeads, splitResult } from './joined-heads.ts'
import { SegmentGradients } from './segment-gradients.ts'
import { SegmentSweep } from './segment-sweep.ts'
import { SegmentTransposed } from './segment-transposed.ts'
import { RowStages } from './stages.ts'

/** A backend that can also compute attention at once, for callers that cannot wait for a promise. */
export interface WasmBackend extends Backend {
  /** @param context whose `pace` asks for no turn */
  attentionNow(task: AttentionTask, context: TaskContext): AttentionTaskResult
  attentionHeadsNow(task: AttentionHeadsTask, context: TaskContext): AttentionHeadsResult
  /** The same of the tasks that a backward call consists of. */
  gradientsNow(
    task: AttentionBackwardTask | AttentionBiasTask,
    context: TaskContext,
  ): AttentionBackwardResult | AttentionBiasResult
  readonly attentionBackward: NonNullable<Backend['attentionBackward']>
  readonly attentionTransposed: NonNullable<Backend['attentionTransposed']>
  readonly attentionBias: NonNullable<Backend['attentionBias']>
}

/** Kernels that a lane may get only when a task needs them. */
export type LaterModules = (name: LaterKernels) => Promise<WebAssembly.Module>

/**
 * Attention on the calling thread, in one private linear memory of constant size. One task at a time: the caller waits
 * for a task before it gives the next.
 *
 * @param modules the kernels of attention, and for `gradientsNow` those of gradients; of one binary (binaries.ts)
 * @param later asked for others when a task first needs them; without it the backend runs no such task
 */
export function createWasmBackend(
  modules: readonly WebAssembly.Module[],
  later: LaterModules = noLaterKernels,
): WasmBackend {
  return new WasmEngine(modules, later)
}

function noLaterKernels(name: LaterKernels): Promise<WebAssembly.Module> {
  return Promise.reject(new BackendUnavailableError(`wasm: expected kernels of ${name} for a task, got none`))
}

class WasmEngine implements WasmBackend {
  readonly kind = 'wasm'
  /** kernels of the arena */
  readonly #modules: WebAssembly.Module[]
  readonly #later: LaterModules
  #arena: Arena | undefined
  #stages: RowStages | undefined
  #hasGradients = false

  constructor(modules: readonly WebAssembly.Module[], later: LaterModules) {
    this.#modules = [...modules]
    this.#later = later
    this.#arena = new Arena(modules, startingArenaBytes())
  }

  residentBytes(): number {
    return (this.#arena?.bytes ?? 0) + this.stageBytes()
  }

  stageBytes(): number {
    return this.#stages?.residentBytes() ?? 0
  }

  async attention(task: AttentionTask, context: TaskContext): Promise<AttentionTaskResult> {
    return this.#attentionRun(task, context).run()
  }

  async attentionAll(tasks: readonly AttentionTask[], context: TaskContext): Promise<AttentionTaskResult[]> {
    const results: AttentionTaskResult[] = []
    while (results.length < tasks.length) {
      const joined = joinHeads(tasks, results.length)
      if (joined === null) results.push(await this.#attentionRun(tasks[results.length] as AttentionTask, context).run())
      else results.push(...splitResult(joined, await this.#attentionRun(joined.task, context).run()))
    }
    return results
  }

  async attentionHeads(task: AttentionHeadsTask, context: TaskContext): Promise<AttentionHeadsResult> {
    return sweep(this.#headsSweep(task, context))
  }

  attentionNow(task: AttentionTask, context: TaskContext): AttentionTaskResult {
    return this.#attentionRun(task, context).runNow()
  }

  attentionHeadsNow(task: AttentionHeadsTask, context: TaskContext): AttentionHeadsResult {
    return sweepNow(this.#headsSweep(task, context))
  }

  gradientsNow(
    task: AttentionBackwardTask | AttentionBiasTask,
    context: TaskContext,
  ): AttentionBackwardResult | AttentionBiasResult {
    return task.kind === 'attention-bias'
      ? sweepNow(this.#biasSweep(task, context))
      : sweepNow(this.#gradientSweep(task, context))
  }

  async attentionBackward(task: AttentionBackwardTask, context: TaskContext): Promise<AttentionBackwardResult> {
    await this.#needGradients()
    return sweep(this.#gradientSweep(task, context))
  }

  async attentionTransposed(task: AttentionTransposedTask, context: TaskContext): Promise<AttentionTransposedResult> {
    await this.#needGradients()
    const { arena, layout } = this.#segmentArena(task)
    const work = new SegmentTransposed(arena, layout, task, context)
    return sweep({ run: new SegmentSweep(arena, layout, task, context, work), work })
  }

  async attentionBias(task: AttentionBiasTask, context: TaskContext): Promise<AttentionBiasResult> {
    await this.#needGradients()
    return sweep(this.#biasSweep(task, context))
  }

  async rows(task: RowStageTask, context: TaskContext): Promise<RowStageResult> {
    return (this.#stages ?? (await this.#makeStages())).run(task, context)
  }

  async sums(work: SumWork, context: TaskContext): Promise<SumResult> {
    return (this.#stages ?? (await this.#makeStages())).sum(work, context)
  }

  dispose(): void {
    this.#arena = undefined
    this.#stages = undefined
  }

  /** The lane's memory; a larger one where a head size needs it, the old one left to the collector first. */
  #arenaOf(bytes: number): Arena {
    if (this.#arena !== undefined && this.#arena.bytes >= bytes) return this.#arena
    this.#arena = undefined
    return (this.#arena = new Arena(this.#modules, bytes))
  }

  async #needGradients(): Promise<void> {
    if (this.#hasGradients) return
    const module = await this.#later('gradients')
    this.#hasGradients = true
    this.#modules.push(module)
    this.#arena?.add(module)
  }

  #attentionRun(task: AttentionTask, context: TaskContext): AttentionRun {
    const layout = attentionArena(task.settings.headSize, task.settings.valueSize)
    return new AttentionRun(this.#arenaOf(layout.bytes), layout, task, context)
  }

  #headsSweep(task: AttentionHeadsTask, context: TaskContext): Sweep<Pick<AttentionHeadsResult, 'returned'>> {
    const { headSize, valueSize } = task.inputs.settings
    const layout = attentionArena(headSize, valueSize)
    const run = new HeadsSweep(this.#arenaOf(layout.bytes), layout, task, context)
    return { run, work: run }
  }

  #segmentArena({ settings: { headSize, valueSize } }: KeySegmentTask): { arena: Arena; layout: BackwardArena } {
    const layout = backwardArena(headSize, valueSize)
    return { arena: this.#arenaOf(layout.bytes), layout }
  }

  #gradientSweep(task: AttentionBackwardTask, context: TaskContext): Sweep<Partial<AttentionBackwardResult>> {
    const { arena, layout } = this.#segmentArena(task)
    const work = new SegmentGradients(arena, layout, task, context)
    return { run: new SegmentSweep(arena, layout, task, context, work), work }
  }

  #biasSweep(task: AttentionBiasTask, context: TaskContext): Sweep<Partial<AttentionBiasResult>> {
    const { arena, layout } = this.#segmentArena(task.parts[0] as BiasPart)
    const run = new BiasSweep(arena, layout, task, context)
    return { run, work: run }
  }

  async #makeStages(): Promise<RowStages> {
    const module = await this.#later('rows')
    return (this.#stages = new RowStages(module, (tasks, context) => this.attentionAll(tasks, context)))
  }
}

/** What every task of a sweep measures. */
interface SweepFigures {
  readonly tiles: number
  readonly skippedTiles: number
}

/** A task on its way: what steps through it, and what holds its results. */
interface Sweep<Result> {
  readonly run: SweepFigures & { steps(): Iterable<Promise<void>> }
  readonly work: { finish(): Result }
}

/** Runs a sweep to its end and takes a turn of the event loop whenever its context asks for one. */
async function sweep<Result extends object>(
  task: Sweep<Result>,
): Promise<Result & SweepFigures & { readonly elapsedMs: number }> {
  const startedMs = performance.now()
  for (const turn of task.run.steps()) await turn
  return figuresOf(task, startedMs)
}

/** The same without a turn in between: the context's `pace` must ask for none. */
function sweepNow<Result extends object>(task: Sweep<Result>): Result & SweepFigures & { readonly elapsedMs: number } {
  const startedMs = performance.now()
  const first = task.run.steps()[Symbol.iterator]().next()
  if (first.done !== true)
    throw new RangeError('attention: expected a context that asks for no turn, got one that does')
  return figuresOf(task, startedMs)
}

function figuresOf<Result extends object>(
  { run, work }: Sweep<Result>,
  startedMs: number,
): Result & SweepFigures & { readonly elapsedMs: number } {
  return {
    ...work.finish(),
    elapsedMs: performance.now() - startedMs,
    tiles: run.tiles,
    skippedTiles: run.skippedTiles,
  }
}
