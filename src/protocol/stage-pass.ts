import type { ElementBlock } from '../core/element-blocks.ts'
import { ceilDivide } from '../core/integers.ts'
import type { AttentionBackwardTask } from './backward-task.ts'
import { backwardTask, backwardTaskCount, type BackwardTemplate } from './backward-template.ts'
import { CHUNK_FREE, type Chunk } from './chunk.ts'
import type { ElementsPass, ElementsWork } from './element-pass.ts'
import { stageTask } from './stage-task.ts'
import type { StageTemplate } from './stage-template.ts'
import type { RowStageTask } from './stage.ts'
import type { LaneArray, SumTask, SumWork } from './sums.ts'
import type { ArrayId, TaskArray } from './task.ts'

/** A stage over one chunk, for a lane that the scheduler gave it to. */
export interface StageTask {
  readonly kind: 'stage'
  readonly stage: StageTemplate
  readonly chunk: Chunk
}

/** A stage over B × M rows, cut into chunks without regard to where sequences end. */
export interface RowsPass {
  readonly kind: 'rows'
  readonly stage: StageTemplate
  readonly batch: number
  readonly rows: number
  readonly chunkRows: number
  /** whether later chunks are longer, as under a causal mask: then they are begun first */
  readonly lastFirst: boolean
}

/** Sums over rows: each task is a chunk. */
export interface SumsPass {
  readonly kind: 'sums'
  readonly tasks: readonly SumTask[]
  /** of all sequences */
  readonly rows: number
  readonly scratchBytes: number
}

/** Attention's gradients: each (batch, key head, key segment) is a chunk. */
export interface BackwardPass {
  readonly kind: 'attention-backward'
  readonly template: BackwardTemplate
}

/** Stages that are done slab by slab: the rows [0, slabRows) go through all of them, then the next ones. */
export interface SlabPass {
  readonly kind: 'slabs'
  /** of all sequences */
  readonly rows: number
  readonly slabRows: number
  readonly stages: readonly (RowsPass | SumsPass)[]
}

export type PassStage = RowsPass | SumsPass | BackwardPass | ElementsPass | SlabPass

/**
 * Stages one after the other over shared memory, without the scheduler between them: each lane that has a share of the
 * pass claims chunks of the first stage until none is left, waits until all are done, and goes on to the next. A lane
 * never waits for one that has not begun: whoever is there first does more.
 */
export interface StagePass {
  readonly kind: 'pass'
  readonly stages: readonly PassStage[]
  /** one number per chunk, stage after stage: `CHUNK_FREE`, `CHUNK_DONE`, or the share that works on it */
  readonly claims: Int32Array
  /** 1, 2, …: this lane's name in the claims */
  readonly share: number
  /** what a lane that does the whole pass alone makes for it, and which of these arrays it returns */
  readonly alone?: { readonly made: readonly LaneArray[]; readonly returned: readonly ArrayId[] }
}

export interface StagePassResult {
  /** chunks that this lane did */
  readonly tasks: number
  /** time of its work, without waiting */
  readonly elapsedMs: number
  /** the same for each part of the pass */
  readonly partMs: readonly number[]
  /** the arrays that the pass asks for, in its order */
  readonly returned?: readonly TaskArray[]
}

/** What a lane does to one chunk. */
export type PassWork = RowStageTask | SumWork | AttentionBackwardTask | ElementsWork

/** Rows [start, start + rows) of all sequences. */
interface RowRange {
  readonly start: number
  readonly rows: number
}

/** One stage over some rows: what lanes do before they wait for each other. */
export interface PassStep {
  /** which part of the pass it belongs to: a stage, or one of those that are done slab by slab */
  readonly part: number
  readonly stage: RowsPass | SumsPass | BackwardPass | ElementsPass
  readonly range: RowRange
  readonly chunks: number
}

/** The steps of a pass, in order. */
export function* passSteps(stages: readonly PassStage[]): Generator<PassStep> {
  let part = 0
  for (const stage of stages) {
    if (stage.kind !== 'slabs') {
      yield stepOf(part++, stage, { start: 0, rows: rowsOf(stage) })
      continue
    }
    for (let start = 0; start < stage.rows; start += stage.slabRows) {
      const range = { start, rows: Math.min(stage.slabRows, stage.rows - start) }
      for (const [place, inner] of stage.stages.entries()) yield stepOf(part + place, inner, range)
    }
    part += stage.stages.length
  }
}

function stepOf(part: number, stage: PassStep['stage'], range: RowRange): PassStep {
  return { part, stage, range, chunks: chunksOf(stage, range) }
}

function rowsOf(stage: PassStep['stage']): number {
  if (stage.kind === 'rows') return stage.batch * stage.rows
  return stage.kind === 'sums' ? stage.rows : 0
}

function chunksOf(stage: PassStep['stage'], { rows }: RowRange): number {
  if (stage.kind === 'rows') return ceilDivide(rows, stage.chunkRows)
  if (stage.kind === 'elements') return stage.blocks.length
  return stage.kind === 'sums' ? stage.tasks.length : backwardTaskCount(stage.template)
}

/** Chunk `index` of a step. */
export function workOf({ stage, range, chunks }: PassStep, index: number): PassWork {
  if (stage.kind === 'sums')
    return { kind: 'sums', task: stage.tasks[index] as SumTask, rows: range.rows, scratchBytes: stage.scratchBytes }
  if (stage.kind === 'attention-backward') return backwardTask(stage.template, index)
  if (stage.kind === 'elements')
    return { kind: 'elements', block: stage.blocks[index] as ElementBlock<ArrayId>, sums: stage.sums, index }
  const place = stage.lastFirst ? chunks - 1 - index : index
  return stageTask(stage.stage, chunkAt(stage, range, place), place * stage.chunkRows)
}

/** Chunk `index` of some rows: it may run on into the next sequences. */
export function chunkAt(
  { rows, chunkRows }: Pick<RowsPass, 'rows' | 'chunkRows'>,
  range: RowRange,
  index: number,
): Chunk {
  const start = range.start + index * chunkRows
  return {
    batch: Math.floor(start / rows),
    rowStart: start % rows,
    rows: Math.min(chunkRows, range.start + range.rows - start),
  }
}

/** Chunks that end where sequences do, for lanes that get copies of one sequence at a time. */
export function sequenceChunks({ batch, rows, chunkRows }: Pick<RowsPass, 'batch' | 'rows' | 'chunkRows'>): Chunk[] {
  const perBatch = ceilDivide(rows, chunkRows)
  return Array.from({ length: batch * perBatch }, (_, index) => {
    const rowStart = (index % perBatch) * chunkRows
    return { batch: Math.floor(index / perBatch), rowStart, rows: Math.min(chunkRows, rows - rowStart) }
  })
}

/** Gives back what a share had claimed and not done. */
export function freeClaims(claims: Int32Array, share: number): void {
  for (let index = 0; index < claims.length; index++) {
    if (Atomics.compareExchange(claims, index, share, CHUNK_FREE) === share) Atomics.notify(claims, index)
  }
}
