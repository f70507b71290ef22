import { reachOf } from '../../plan/visibility.ts'
import { TILE } from './constants.ts'
import type { AttentionTask } from '../../protocol/task.ts'

/** Keys [start, end). */
export interface KeyRange {
  readonly start: number
  readonly end: number
}

/** Beyond it positions are clamped: no row and no key is that far, so comparisons come out the same. */
const FAR = 2 ** 30

/** The first and last key (inclusive) that row `row` of the task may see by position: causal and window. */
export function visibleOf(task: AttentionTask, row: number): { low: number; high: number } {
  const position = task.rowStart + row + task.queryOffset
  const { before, after } = reachOf(task.settings)
  return { low: position - before, high: position + after }
}

/**
 * Keys that some of the rows [first, first + count) may see, widened downwards to whole tiles; empty when start ≥ end.
 */
export function keysOfRows(task: AttentionTask, first: number, count: number): KeyRange {
  const { low } = visibleOf(task, first)
  const { high } = visibleOf(task, first + count - 1)
  const start = Math.max(task.keyStart, low, 0)
  const end = Math.min(task.keyEnd, task.keyLength, task.settings.keys, high + 1)
  if (!(start < end)) return { start: 0, end: 0 }
  return { start: Math.floor(start / TILE) * TILE, end }
}

/** Positions as a kernel takes them: of the task's row `first`, relative to `segmentStart`, clamped to ±2³⁰. */
export function relativePositions(task: AttentionTask, first: number, segmentStart: number) {
  const { low, high } = visibleOf(task, first)
  const distance = task.rowStart + first + task.queryOffset - segmentStart
  const near = Math.abs(distance) < FAR
  return {
    lowFirst: clamp(low - segmentStart),
    highFirst: clamp(high - segmentStart),
    distanceFirst: near ? distance : 0,
    distanceBase: near ? 0 : distance,
  }
}

function clamp(position: number): number {
  return Math.max(-FAR, Math.min(FAR, position))
}

/**
 * 32 × 32 tiles of rows [first, first + count): those that hold a visible key, and all of those over the task's keys.
 */
export function countTiles(task: AttentionTask, first: number, count: number): { tiles: number; skipped: number } {
  const columns = Math.ceil(task.keyEnd / TILE) - Math.floor(task.keyStart / TILE)
  let tiles = 0
  let all = 0
  for (let row = 0; row < count; row += TILE) {
    const { start, end } = keysOfRows(task, first + row, Math.min(TILE, count - row))
    tiles += Math.ceil((end - start) / TILE)
    all += columns
  }
  return { tiles, skipped: Math.max(0, all - tiles) }
}
