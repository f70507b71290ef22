import type { PassStage } from './stage-pass.ts'

/** How many parts a pass has. */
export function partCount(stages: readonly PassStage[]): number {
  return stages.reduce((sum, stage) => sum + (stage.kind === 'slabs' ? stage.stages.length : 1), 0)
}
