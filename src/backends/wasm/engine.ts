import { attentionArena, startingArenaBytes } from '../../plan/arena.ts'
import { backwardArena, type BackwardArena } from '../../plan/backward-arena.ts'
import type {
  AttentionBackwardResult,
  AttentionBackwardTask,
  AttentionBiasResult,
  AttentionBiasTask,
  BiasPart,
  KeySegmentTask,
} from '../../protocol/backward-task.ts'
import type { AttentionHeadsResult, AttentionHeadsTask } from '../../protocol/heads-task.ts'
import type { AttentionTask, AttentionTaskResult } from '../../protocol/task.ts'
import type { Backend, TaskContext } from '../backend.ts'
import { Arena } from './arena.ts'
import { AttentionRun } from './attention-run.ts'
import { BiasSweep } from './bias-sweep.ts'
import { manyHeads } from './heads.ts'
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

/**
 * Attention on the calling thread, in one private linear memory of constant size. One task at a time: the caller waits
 * for a task before it gives the next.
 *
 * @param module one of the two binaries (binaries.ts); both export the same kernels
 */
export function createWasmBackend(module: WebAssembly.Module): WasmBackend {
  let arena: Arena | undefined = new Arena(module, startingArenaBytes())

  /** The lane's memory; a larger one where a head size needs it, the old one left to the collector first. */
  const arenaOf = (bytes: number): Arena => {
    if (arena !== undefined && arena.bytes >= bytes) return arena
    arena = undefined
    return (arena = new Arena(module, bytes))
  }

  const segmentArena = ({
    settings: { headSize, valueSize },
  }: KeySegmentTask): { arena: Arena; layout: BackwardArena } => {
    const layout = backwardArena(headSize, valueSize)
    return { arena: arenaOf(layout.bytes), layout }
  }

  const gradientSweep = (
    task: AttentionBackwardTask,
    context: TaskContext,
  ): Sweep<Partial<AttentionBackwardResult>> => {
    const { arena, layout } = segmentArena(task)
    const work = new SegmentGradients(arena, layout, task, context)
    return { run: new SegmentSweep(arena, layout, task, context, work), work }
  }

  const biasSweep = (task: AttentionBiasTask, context: TaskContext): Sweep<Partial<AttentionBiasResult>> => {
    const { arena, layout } = segmentArena(task.parts[0] as BiasPart)
    const run = new BiasSweep(arena, layout, task, context)
    return { run, work: run }
  }

  const runOf = (task: AttentionTask, context: TaskContext): AttentionRun => {
    const layout = attentionArena(task.settings.headSize, task.settings.valueSize)
    return new AttentionRun(arenaOf(layout.bytes), layout, task, context)
  }
  const attention = (task: AttentionTask, context: TaskContext): Promise<AttentionTaskResult> =>
    runOf(task, context).run()
  const attentionAll = async (
    tasks: readonly AttentionTask[],
    context: TaskContext,
  ): Promise<AttentionTaskResult[]> => {
    const results: AttentionTaskResult[] = []
    while (results.length < tasks.length) {
      const joined = joinHeads(tasks, results.length)
      if (joined === null) results.push(await attention(tasks[results.length] as AttentionTask, context))
      else results.push(...splitResult(joined, await attention(joined.task, context)))
    }
    return results
  }
  let stages: RowStages | undefined

  return {
    kind: 'wasm',
    residentBytes: () => (arena?.bytes ?? 0) + (stages?.residentBytes() ?? 0),
    stageBytes: () => stages?.residentBytes() ?? 0,
    async attention(task, context) {
      return attention(task, context)
    },
    attentionAll,
    async attentionHeads(task, context) {
      const startedMs = performance.now()
      const heads = manyHeads(task, context)
      return heads.finish(await attentionAll(heads.tasks, heads.context), performance.now() - startedMs)
    },
    attentionNow: (task, context) => runOf(task, context).runNow(),
    attentionHeadsNow(task, context) {
      const startedMs = performance.now()
      const heads = manyHeads(task, context)
      const results = heads.tasks.map((each) => runOf(each, heads.context).runNow())
      return heads.finish(results, performance.now() - startedMs)
    },
    gradientsNow: (task, context) =>
      task.kind === 'attention-bias' ? sweepNow(biasSweep(task, context)) : sweepNow(gradientSweep(task, context)),
    async attentionBackward(task, context) {
      return sweep(gradientSweep(task, context))
    },
    async attentionTransposed(task, context) {
      const { arena, layout } = segmentArena(task)
      const work = new SegmentTransposed(arena, layout, task, context)
      return sweep({ run: new SegmentSweep(arena, layout, task, context, work), work })
    },
    async attentionBias(task, context) {
      return sweep(biasSweep(task, context))
    },
    async rows(task, context) {
      stages ??= new RowStages(module, attentionAll)
      return stages.run(task, context)
    },
    sums(work, context) {
      stages ??= new RowStages(module, attentionAll)
      return Promise.resolve(stages.sum(work, context))
    },
    dispose: () => {
      arena = undefined
      stages = undefined
    },
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
