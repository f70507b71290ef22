import type { AttentionArena } from '../../plan/arena.ts'
import {
  returnedOfHeads,
  taskOfHead,
  type AttentionHeadsResult,
  type AttentionHeadsTask,
} from '../../protocol/heads-task.ts'
import type { AttentionTask, TaskArray } from '../../protocol/task.ts'
import type { TaskContext } from '../backend.ts'
import type { Arena } from './arena.ts'
import { AttentionRun } from './attention-run.ts'
import { fitsHeadBlocks, HeadBlocks } from './head-blocks.ts'
import { joinHeads } from './joined-heads.ts'

/** Many small heads in one arena, one after the other; of one query row, those of a group together. */
export class HeadsSweep {
  tiles = 0
  skippedTiles = 0
  readonly #returned: readonly TaskArray[]
  readonly #context: TaskContext

  constructor(
    private readonly arena: Arena,
    private readonly layout: AttentionArena,
    private readonly task: AttentionHeadsTask,
    context: TaskContext,
  ) {
    const returned = returnedOfHeads(task).map(({ kind, length }): TaskArray =>
      kind === 'Int32Array' ? new Int32Array(length) : new Float32Array(length),
    )
    this.#returned = returned
    this.#context = { array: (id) => returned[-1 - id] ?? context.array(id), pace: () => context.pace() }
  }

  *steps(): Generator<Promise<void>, void> {
    if (fitsHeadBlocks(this.task, this.layout)) {
      const blocks = new HeadBlocks(this.arena, this.layout, this.task, this.#context)
      yield* blocks.steps()
      this.tiles = blocks.tiles
      this.skippedTiles = blocks.skippedTiles
      return
    }
    for (const task of this.#tasks()) {
      const run = new AttentionRun(this.arena, this.layout, task, this.#context)
      yield* run.steps()
      this.tiles += run.tiles
      this.skippedTiles += run.skippedTiles
    }
  }

  finish(): Pick<AttentionHeadsResult, 'returned'> {
    return { returned: this.#returned }
  }

  /** Each is made when its turn comes: then it dies young, which costs the collector nothing. */
  *#tasks(): Generator<AttentionTask> {
    const { rows, count } = this.task
    if (rows > 1) {
      for (let index = 0; index < count; index++) yield taskOfHead(this.task, index)
      return
    }
    const tasks = Array.from({ length: count }, (_, index) => taskOfHead(this.task, index))
    for (let index = 0; index < count;) {
      const joined = joinHeads(tasks, index)
      yield joined?.task ?? (tasks[index] as AttentionTask)
      index += joined?.count ?? 1
    }
  }
}
