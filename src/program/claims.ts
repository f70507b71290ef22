import { ceilDivide } from '../core/integers.ts'
import { backwardTaskTotal, slabTaskCount, tableTaskCount } from './bind-gradients.ts'
import { stageChunkRowsOf } from './stage-sizes.ts'
import type { Stage } from './stage.ts'

/** Chunks of these stages, each with its place in a pass's claims. */
export function claimCount(stages: readonly Stage[], chunkRows: number): number {
  return stages.reduce((sum, stage) => sum + chunksOf(stage, chunkRows), 0)
}

function chunksOf(stage: Stage, chunkRows: number): number {
  if (stage.kind === 'attention-backward') return backwardTaskTotal(stage)
  if (stage.kind === 'table') return tableTaskCount(stage)
  const total = stage.batch * stage.rows
  const rows = stageChunkRowsOf(stage, chunkRows)
  if (stage.slab === null) return ceilDivide(total, rows)
  let chunks = 0
  for (let start = 0; start < total; start += stage.slab.rows)
    chunks += ceilDivide(Math.min(stage.slab.rows, total - start), rows) + slabTaskCount(stage.slab)
  return chunks
}
