import { ceilDivide } from '../core/integers.ts'
import type { Chunk, StageTemplate } from './stage-template.ts'

/** A stage over one chunk, for a lane that the scheduler gave it to. */
export interface StageTask {
  readonly kind: 'stage'
  readonly stage: StageTemplate
  readonly chunk: Chunk
}

/** A stage over B × M rows, cut into chunks. */
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

type Cut = Pick<PassStage, 'batch' | 'rows' | 'chunkRows'>

export function chunkCount({ batch, rows, chunkRows }: Cut): number {
  return batch * ceilDivide(rows, chunkRows)
}

/** Chunk `index` of `chunkCount`, batch after batch. */
export function chunkAt({ rows, chunkRows }: Cut, index: number): Chunk {
  const perBatch = ceilDivide(rows, chunkRows)
  const rowStart = (index % perBatch) * chunkRows
  return { batch: Math.floor(index / perBatch), rowStart, rows: Math.min(chunkRows, rows - rowStart) }
}

/** Gives back what a share had claimed and not done. */
export function freeClaims(claims: Int32Array, share: number): void {
  for (let index = 0; index < claims.length; index++) {
    if (Atomics.compareExchange(claims, index, share, CHUNK_FREE) === share) Atomics.notify(claims, index)
  }
}
