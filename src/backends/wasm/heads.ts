import {
  returnedOfHeads,
  tasksOfHeads,
  type AttentionHeadsResult,
  type AttentionHeadsTask,
} from '../../protocol/heads-task.ts'
import type { AttentionTask, AttentionTaskResult, TaskArray } from '../../protocol/task.ts'
import type { TaskContext } from '../backend.ts'

/** Many small heads as tasks of one head each, and their results as one. */
export interface ManyHeads {
  readonly tasks: readonly AttentionTask[]
  /** sees the arrays that go back, too */
  readonly context: TaskContext
  finish(results: readonly AttentionTaskResult[], elapsedMs: number): AttentionHeadsResult
}

export function manyHeads(task: AttentionHeadsTask, context: TaskContext): ManyHeads {
  const returned = returnedOfHeads(task).map(({ kind, length }): TaskArray =>
    kind === 'Int32Array' ? new Int32Array(length) : new Float32Array(length),
  )
  return {
    tasks: tasksOfHeads(task),
    context: { array: (id) => returned[-1 - id] ?? context.array(id), pace: () => context.pace() },
    finish(results, elapsedMs) {
      let [tiles, skippedTiles] = [0, 0]
      for (const result of results) {
        tiles += result.tiles
        skippedTiles += result.skippedTiles
      }
      return { returned, elapsedMs, tiles, skippedTiles }
    },
  }
}
