import {
  FLAG_ALIBI,
  FLAG_BIAS,
  FLAG_DROPOUT,
  FLAG_MASK,
  FLAG_SEGMENTS,
  FLAG_SOFTCAP,
  FLAG_STATISTICS,
  P_ALIBI_SLOPE,
  P_ALLOW,
  P_BATCH_HEAD,
  P_BIAS_LANES,
  P_FACTOR,
  P_FLOOR,
  P_HEAD_SIZE,
  P_KEY,
  P_KEY_SEGMENTS,
  P_ROWS_OUT,
  P_ROWS_STRIDE,
  P_SCALE,
  P_SCORES,
  P_SEED_HIGH,
  P_SEED_LOW,
  P_SOFTCAP,
  P_THRESHOLD,
  P_VALUE,
  P_VALUE_SIZE,
  P_VECTORS,
} from '../../../assembly/abi.ts'
import type { AttentionArena } from '../../plan/arena.ts'
import { asksForStatistics } from '../../protocol/row-results.ts'
import type { AttentionTask } from '../../protocol/task.ts'
import type { Arena } from './arena.ts'

const LOG2E = 1.4426950408889634
/** The lowest finite float32: a floor of −∞ would make 0·∞. */
const LOWEST = -3.4028234663852886e38

/** What of a task makes its scores and their dropout, forward and backward. */
export type ScoredTask = Pick<
  AttentionTask,
  'settings' | 'batchHead' | 'alibiSlope' | 'mask' | 'bias' | 'querySegments' | 'keySegments'
>

/** FLAG_… of what the whole task asks for; tiles and blocks add what they hold. */
export function flagsOf(task: AttentionTask): number {
  return scoreFlags(task) | (asksForStatistics(task) ? FLAG_STATISTICS : 0)
}

/** FLAG_… of what makes scores and dropout. */
export function scoreFlags(task: ScoredTask): number {
  const { softcap, dropout } = task.settings
  return (
    (task.mask === undefined ? 0 : FLAG_MASK) |
    (task.bias === undefined ? 0 : FLAG_BIAS) |
    (task.querySegments === undefined || task.keySegments === undefined ? 0 : FLAG_SEGMENTS) |
    (softcap === 0 ? 0 : FLAG_SOFTCAP) |
    (task.alibiSlope === 0 ? 0 : FLAG_ALIBI) |
    (dropout === null || dropout.threshold === 0 ? 0 : FLAG_DROPOUT)
  )
}

/**
 * What packed queries are multiplied by: the scale's sign, so that the largest score counts most, and so that 0·∞ is
 * NaN.
 */
export function querySign(task: ScoredTask): number {
  return Math.sign(task.settings.scale)
}

/** The natural logarithm that one unit of score is worth: |scale|, or 1 where softcap, bias or ALiBi came on top. */
export function scoreUnit(task: ScoredTask): number {
  return (scoreFlags(task) & (FLAG_SOFTCAP | FLAG_BIAS | FLAG_ALIBI)) === 0 ? Math.abs(task.settings.scale) : 1
}

/** 1/(1 − p), or 1 without dropout. All weights dropped: 0, so that the 0 they leave is not multiplied by infinity. */
export function keepScaleOf({ settings: { dropout } }: Pick<ScoredTask, 'settings'>): number {
  if (dropout === null) return 1
  return dropout.threshold >= 4294967296 ? 0 : dropout.keepScale
}

/** Where the parts that forward and backward share stand in an arena. */
export type ScorePlaces = Pick<
  AttentionArena,
  'key' | 'biasLanes' | 'vectors' | 'keySegments' | 'transfer' | 'blockRows'
>

/** The parameters that hold for the whole task. */
export function setTaskParameters(arena: Arena, layout: AttentionArena, task: AttentionTask): void {
  setScoreParameters(arena, layout, task, scoreUnit(task))
  arena.setInteger(P_ALLOW, layout.allow)
  arena.setInteger(P_VALUE, layout.value)
  arena.setInteger(P_SCORES, layout.scores)
}

/** What forward and backward have in common of them. @param unit as `scoreUnit` has it */
export function setScoreParameters(arena: Arena, layout: ScorePlaces, task: ScoredTask, unit: number): void {
  const { headSize, valueSize, softcap, dropout, scale } = task.settings
  arena.setInteger(P_HEAD_SIZE, headSize)
  arena.setInteger(P_VALUE_SIZE, valueSize)
  arena.setInteger(P_KEY, layout.key)
  arena.setInteger(P_BIAS_LANES, layout.biasLanes)
  arena.setInteger(P_VECTORS, layout.vectors)
  arena.setInteger(P_KEY_SEGMENTS, layout.keySegments)
  arena.setInteger(P_ROWS_OUT, layout.transfer)
  arena.setInteger(P_ROWS_STRIDE, layout.blockRows)
  const factor = Math.fround(unit * LOG2E)
  arena.setFloat(P_FACTOR, factor)
  arena.setFloat(P_FLOOR, Math.max(-64 / factor, LOWEST))
  arena.setFloat(P_SCALE, Math.abs(scale))
  arena.setFloat(P_SOFTCAP, softcap)
  arena.setFloat(P_ALIBI_SLOPE, task.alibiSlope)
  if (dropout !== null) {
    arena.setInteger(P_THRESHOLD, dropout.threshold - 1)
    arena.setInteger(P_SEED_LOW, dropout.seedLow)
    arena.setInteger(P_SEED_HIGH, dropout.seedHigh)
    arena.setInteger(P_BATCH_HEAD, task.batchHead)
  }
}
