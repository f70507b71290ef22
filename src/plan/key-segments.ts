import { ceilDivide } from '../core/integers.ts'
import { keyBlockRows } from './arena.ts'
import { ofBatch, type AttentionSizes, type Visibility } from './attention-sizes.ts'
import { rowsThatSee } from './visibility.ts'

/** Parts that one head's keys are cut into at most: each has a slot of its own for dQ. */
const MAX_SEGMENTS = 8
/** Tasks of a call that occupy the lanes of a large machine. */
const WANTED_TASKS = 32
/** A shorter segment is not worth its slot. */
const SEGMENT_KEYS = 1024

/** Keys [keyStart, keyEnd). */
export interface KeySegment {
  readonly keyStart: number
  readonly keyEnd: number
}

/** The sizes that decide how keys are cut; `heads` counts the heads that have tasks of their own. */
export interface SegmentedSizes extends Pick<AttentionSizes, 'queries' | 'keys' | 'headSize' | 'valueSize'> {
  /** B times the key heads (or, in `attentionTransposed`, the query heads) */
  readonly taskHeads: number
}

/** min(8, ⌈32 / taskHeads⌉, ⌈N / 1024⌉), at least 1: how many tasks one head has. */
export function keySegmentCount({ taskHeads, keys }: Pick<SegmentedSizes, 'taskHeads' | 'keys'>): number {
  return Math.max(
    1,
    Math.min(MAX_SEGMENTS, ceilDivide(WANTED_TASKS, Math.max(1, taskHeads)), ceilDivide(keys, SEGMENT_KEYS)),
  )
}

/**
 * Where the keys of one batch are cut for backward: `keySegmentCount` segments of about equal visible work, in key
 * order, that cover all keys and end at key blocks. Shapes and position options alone decide it, so a gradient's bits
 * depend on neither the pool nor the chunk size.
 */
export function keySegments(sizes: SegmentedSizes, see: Visibility, batch: number): KeySegment[] {
  const { keys } = sizes
  const blockRows = keyBlockRows(sizes.headSize, sizes.valueSize)
  const blocks = ceilDivide(keys, blockRows)
  const count = Math.min(keySegmentCount(sizes), blocks)
  const ends = workUpTo(sizes.queries, keys, blockRows, see, batch)
  const total = ends[blocks - 1] ?? 0
  const segments: KeySegment[] = []
  let block = 0
  for (let index = 1; index <= count; index++) {
    const first = block
    // Each segment has a block, and leaves one for each segment after it.
    const last = blocks - (count - index)
    block = index === count ? blocks : Math.min(last, Math.max(first + 1, nearestCut(ends, (total * index) / count)))
    segments.push({ keyStart: first * blockRows, keyEnd: Math.min(keys, block * blockRows) })
  }
  return segments
}

/** (query, key) pairs visible in each block and all those before it. */
function workUpTo(queries: number, keys: number, blockRows: number, see: Visibility, batch: number): number[] {
  const offset = ofBatch(see.queryOffset, batch)
  const length = ofBatch(see.keyLength, batch)
  const ends: number[] = []
  let work = 0
  for (let start = 0; start < keys; start += blockRows) {
    const counted = Math.min(start + blockRows, keys, length) - start
    if (counted > 0) {
      const { start: low, end: high } = rowsThatSee(start + (counted - 1) / 2, see, offset, queries)
      work += Math.max(0, high - low) * counted
    }
    ends.push(work)
  }
  return ends
}

/** How many blocks come nearest to `target` work. */
function nearestCut(ends: readonly number[], target: number): number {
  const past = ends.findIndex((work) => work >= target)
  if (past < 0) return ends.length
  const before = past === 0 ? 0 : (ends[past - 1] as number)
  return (ends[past] as number) - target <= target - before ? past + 1 : past
}
