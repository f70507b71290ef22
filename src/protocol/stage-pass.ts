import { ceilDivide } from '../core/integers.ts'
import type { Chunk, StageTemplate } from './stage-template.ts'

/** A stage over one chunk, for a lane that the scheduler gave it to. */
export interface StageTask {
  readonly kind: 'stage'
  readonly stage: StageTemplate
  readonly chunk: Chunk
}

/** A stage over B × M rows, cut into chunks without regard to where sequences end. */
export interface PassStage {
  readonly stage: StageTemplate
  readonly batch: number
  readonly rows: number
  readonly chunkRows: number
  /** whether later chunks are longer, as under a causal mask: then they are begun first */
  readonly lastFirst: boolean
}

/**
 * Stages one after the other over shared memory, without the scheduler between them: each lane that has a share of the pass
 * claims chunks of the first stage until none is left, waits until all are done, and goes on to the next. A lane never waits
 * for one that has not begun: whoever is there first does more.
 */
export interface StagePass {
  readonly kind: 'pass'
  readonly stages: readonly PassStage[]
  /** one number a chunk, stage after stage: `CHUNK_FREE`, `CHUNK_DONE`, or the share that works on it */
  readonly claims: Int32Array
  /** 1, 2, …: this lane's name in the claims */
  readonly share: number
}

export interface StagePassResult {
  /** chunks that this lane did */
  readonly tasks: number
  /** time of its work, without waiting */
  readonly elapsedMs: number
}

export const CHUNK_FREE = 0
export const CHUNK_DONE = -1

/** How B sequences of M rows are cut. */
export type Cut = Pick<PassStage, 'batch' | 'rows' | 'chunkRows'>

export function chunkCount({ batch, rows, chunkRows }: Cut): number {
  return ceilDivide(batch * rows, chunkRows)
}

/** Chunk `index` of `chunkCount`: it may run on into the next sequences. */
export function chunkAt({ batch, rows, chunkRows }: Cut, index: number): Chunk {
  const start = index * chunkRows
  return { batch: Math.floor(start / rows), rowStart: start % rows, rows: Math.min(chunkRows, batch * rows - start) }
}

/** Chunks that end where sequences do, for lanes that get copies of one sequence at a time. */
export function sequenceChunks({ batch, rows, chunkRows }: Cut): Chunk[] {
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
