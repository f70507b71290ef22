import { ceilDivide, roundUp } from '../core/integers.ts'
import { attentionFlops, type AttentionSizes, type Visibility } from './attention-sizes.ts'

/** The guide's chunk, and the most rows that share one copy of a key block. */
const MAX_CHUNK_ROWS = 1024
/** Rows that fill the kernels' tile; a smaller chunk wastes a part of it. */
const TILE_ROWS = 64
/** As many tasks per lane, so that a slow lane does not hold up the end. */
const TASKS_PER_LANE = 4
/** The same for stages over shared memory, whose tasks are alike and read all keys again in each. */
const STAGE_TASKS_PER_LANE = 2
/** About 0.2 ms of one lane: less is not worth a message of its own. */
export const SMALLEST_TASK_FLOPS = 6e6

/** Rows of a GPU lane's task: past that the work before and after a block grows as fast as the block. */
const MAX_GPU_CHUNK_ROWS = 4096
/**
 * What hides a task's fixed cost on a GPU, some 0.3 ms of uploads, submits and messages; a software adapter computes
 * far longer.
 */
const SMALLEST_GPU_TASK_FLOPS = 1e9
const SMALLEST_SOFTWARE_TASK_FLOPS = 6e7

/**
 * Whether a call is so small that a message to a worker would take longer than the work: then the calling thread does
 * it. Kernels work on eight rows at once, so fewer take as long as eight.
 */
export function worthAWorker(sizes: AttentionSizes, visibility: Visibility): boolean {
  const rows = Math.max(1, sizes.queries)
  return attentionFlops(sizes, visibility) * (roundUp(rows, 8) / rows) >= SMALLEST_TASK_FLOPS
}

/**
 * Query rows per task: at most 1024, few enough that each lane gets four tasks or more, and enough that a task is worth
 * its message. It never changes a result: a row's arithmetic does not depend on its chunk.
 *
 * @param heads B·H
 * @param flopsPerRow of one row of one head
 */
export function defaultChunkRows(heads: number, queries: number, flopsPerRow: number, lanes: number): number {
  const perHead = Math.max(1, ceilDivide(TASKS_PER_LANE * lanes, Math.max(1, heads)))
  const balanced = roundUp(ceilDivide(queries, perHead), queries >= perHead * TILE_ROWS ? TILE_ROWS : 8)
  return Math.max(1, Math.min(MAX_CHUNK_ROWS, Math.max(balanced, worthwhileRows(flopsPerRow)), queries))
}

/**
 * Rows of a stage's task: whole tiles of rows where every lane gets one, and two tasks per lane where there are more;
 * four where their rows travel, so that less is under way at once. A lone lane has nobody to share with.
 *
 * @param flopsPerRow attention over all keys included
 */
export function stageChunkRows(
  batch: number,
  rows: number,
  flopsPerRow: number,
  lanes: number,
  sharedMemory: boolean,
): number {
  if (lanes === 1 && sharedMemory) return Math.max(1, Math.min(MAX_CHUNK_ROWS, rows))
  const tiles = Math.floor((batch * rows) / TILE_ROWS)
  const tasks = Math.max(lanes, Math.min((sharedMemory ? STAGE_TASKS_PER_LANE : TASKS_PER_LANE) * lanes, tiles))
  const balanced = roundUp(ceilDivide(rows, ceilDivide(tasks, Math.max(1, batch))), tiles >= tasks ? TILE_ROWS : 8)
  return Math.max(1, Math.min(MAX_CHUNK_ROWS, Math.max(balanced, worthwhileRows(flopsPerRow)), rows))
}

function worthwhileRows(flopsPerRow: number): number {
  return roundUp(Math.ceil(SMALLEST_TASK_FLOPS / Math.max(1, flopsPerRow)), 8)
}

/** The same where every lane is a GPU: fewer and larger tasks, as each costs an upload, its submits and a way back. */
export function gpuChunkRows(
  heads: number,
  queries: number,
  flopsPerRow: number,
  lanes: number,
  software: boolean,
): number {
  const perHead = Math.max(1, ceilDivide(TASKS_PER_LANE * lanes, Math.max(1, heads)))
  const balanced = roundUp(ceilDivide(queries, perHead), TILE_ROWS)
  const smallest = software ? SMALLEST_SOFTWARE_TASK_FLOPS : SMALLEST_GPU_TASK_FLOPS
  const worthwhile = roundUp(Math.ceil(smallest / Math.max(1, flopsPerRow)), TILE_ROWS)
  return Math.max(1, Math.min(MAX_GPU_CHUNK_ROWS, Math.max(balanced, worthwhile), queries))
}
