import { reachOf } from '../../plan/visibility.ts'
import type { AttentionTask } from '../../protocol/task.ts'

/** Far enough that no key of a block is near, near enough that sums with rows stay in 32 bits. */
const FAR = 2 ** 29

/** Which keys of a block some rows may see by position: row r those with low + r ≤ j < min(high + r, limit). */
export interface Band {
  readonly low: number
  readonly high: number
  readonly limit: number
  /** i + queryOffset of row 0, less the block's first key */
  readonly position: number
}

/** What of a task says who sees whom by position. */
export interface Positioned extends Pick<AttentionTask, 'settings' | 'queryOffset' | 'keyLength' | 'keyEnd'> {
  /** 0 where the task holds all rows */
  readonly rowStart?: number
}

/** @param row the first of the rows, counted in the task */
export function bandOf(task: Positioned, row: number, blockStart: number): Band {
  const { before, after } = reachOf(task.settings)
  const position = (task.rowStart ?? 0) + row + task.queryOffset - blockStart
  return {
    low: clamp(position - before),
    high: clamp(position + after + 1),
    limit: clamp(Math.min(task.keyLength, task.keyEnd) - blockStart),
    position: clamp(position),
  }
}

/** Whether none of `rows` rows sees any of the block's `keys` keys. */
export function isEmpty({ low, high, limit }: Band, rows: number, keys: number): boolean {
  return Math.max(low, 0) >= Math.min(high + rows - 1, limit, keys)
}

function clamp(x: number): number {
  return Math.max(-FAR, Math.min(FAR, x))
}

/** The smallest and largest segment number of some rows or keys. */
export interface SegmentRange {
  readonly least: number
  readonly most: number
}

export function segmentRange(segments: Int32Array, from: number, count: number): SegmentRange {
  let [least, most] = [Infinity, -Infinity]
  for (let index = from; index < from + count; index++) {
    const segment = segments[index] as number
    if (segment < least) least = segment
    if (segment > most) most = segment
  }
  return { least, most }
}

export function areDisjoint(a: SegmentRange, b: SegmentRange): boolean {
  return a.most < b.least || b.most < a.least
}
