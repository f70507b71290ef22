import { attentionArena, attentionArenaBytes } from '../../plan/arena.ts'
import { backwardArena, type BackwardArena } from '../../plan/backward-arena.ts'
import type { KeySegmentTask } from '../../protocol/backward-task.ts'
import type { AttentionTask, AttentionTaskResult } from '../../protocol/task.ts'
import type { Backend, TaskContext } from '../backend.ts'
import { Arena } from './arena.ts'
import { AttentionRun } from './attention-run.ts'
import { SegmentGradients } from './segment-gradients.ts'
import { SegmentSweep, type SegmentWork } from './segment-sweep.ts'
import { SegmentTransposed } from './segment-transposed.ts'
import { RowStages } from './stages.ts'

/** A backend that can also compute attention at once, for callers that cannot wait for a promise. */
export interface WasmBackend extends Backend {
  /** @param context whose `pace` asks for no turn */
  attentionNow(task: AttentionTask, context: TaskContext): AttentionTaskResult
  readonly attentionBackward: NonNullable<Backend['attentionBackward']>
  readonly attentionTransposed: NonNullable<Backend['attentionTransposed']>
}

/**
 * Attention on the calling thread, in one private linear memory of constant size. One task at a time: the caller waits for
 * a task before it gives the next.
 *
 * @param module one of the two binaries (binaries.ts); both export the same kernels
 */
export function createWasmBackend(module: WebAssembly.Module): WasmBackend {
  let arena: Arena | undefined = new Arena(module, attentionArenaBytes(1, 1))

  /** The lane's memory; a larger one where a head size needs it, the old one left to the collector first. */
  const arenaOf = (bytes: number): Arena => {
    if (arena !== undefined && arena.bytes >= bytes) return arena
    arena = undefined
    return (arena = new Arena(module, bytes))
  }

  const segmentArena = ({ settings: { headSize, valueSize } }: KeySegmentTask): { arena: Arena; layout: BackwardArena } => {
    const layout = backwardArena(headSize, valueSize)
    return { arena: arenaOf(layout.bytes), layout }
  }

  const runOf = (task: AttentionTask, context: TaskContext): AttentionRun => {
    const layout = attentionArena(task.settings.headSize, task.settings.valueSize)
    return new AttentionRun(arenaOf(layout.bytes), layout, task, context)
  }
  const attention = (task: AttentionTask, context: TaskContext): Promise<AttentionTaskResult> => runOf(task, context).run()
  let stages: RowStages | undefined

  return {
    kind: 'wasm',
    residentBytes: () => (arena?.bytes ?? 0) + (stages?.residentBytes() ?? 0),
    async attention(task, context) {
      return attention(task, context)
    },
    attentionNow: (task, context) => runOf(task, context).runNow(),
    async attentionBackward(task, context) {
      const { arena, layout } = segmentArena(task)
      return sweep(arena, layout, task, context, new SegmentGradients(arena, layout, task, context))
    },
    async attentionTransposed(task, context) {
      const { arena, layout } = segmentArena(task)
      return sweep(arena, layout, task, context, new SegmentTransposed(arena, layout, task, context))
    },
    async rows(task, context) {
      stages ??= new RowStages(module, attention)
      return stages.run(task, context)
    },
    sums(work, context) {
      stages ??= new RowStages(module, attention)
      return Promise.resolve(stages.sum(work, context))
    },
    dispose: () => {
      arena = undefined
      stages = undefined
    },
  }
}

/** Sweeps a task's keys and takes a turn of the event loop whenever its context asks for one. */
async function sweep<Result extends object>(
  arena: Arena, layout: BackwardArena, task: KeySegmentTask, context: TaskContext, work: SegmentWork & { finish(): Result },
): Promise<Result & SweepFigures> {
  const startedMs = performance.now()
  const run = new SegmentSweep(arena, layout, task, context, work)
  for (const turn of run.steps()) await turn
  return { ...work.finish(), elapsedMs: performance.now() - startedMs, tiles: run.tiles, skippedTiles: run.skippedTiles }
}

/** What every task of a sweep measures. */
interface SweepFigures {
  readonly elapsedMs: number
  readonly tiles: number
  readonly skippedTiles: number
}
