import { OptionError } from '../../core/errors.ts'
import { ceilDivide } from '../../core/integers.ts'
import { keysSeenFrom, type PositionRule } from '../../plan/visibility.ts'
import type { RowRange } from '../store/stored-tensor.ts'
import type { AttentionShape } from './attention-shape.ts'
import type { AttentionSettings } from './attention-settings.ts'

/** A range of keys and values that one job reads: as many as are worth keeping on a host. */
const RANGE_BYTES = 64 * 1024 * 1024
const MAX_RANGE_KEYS = 65_536
const RANGE_STEP = 1024
/** Query rows, over all heads, that a job takes: enough that a job of a full key range takes seconds. */
const CHUNK_ROWS = 4096
const LEAST_CHUNK_ROWS = 64

/** More jobs than this in one flow would make one Redis command of hundreds of megabytes. */
export const MAX_JOBS = 100_000

/** How a call is cut: by its shape and options alone, so that its bits are the same for any number of hosts. */
export interface Partition {
  readonly queryRows: number
  readonly keyRows: number
}

/** The sizes of query chunks and key ranges that a call gets where it does not ask for others. */
export function defaultPartition({ batch, heads, keyValueHeads, headSize, valueSize }: AttentionShape): Partition {
  const keyBytes = Math.max(1, batch * keyValueHeads * (headSize + valueSize) * Float32Array.BYTES_PER_ELEMENT)
  const keys = Math.floor(RANGE_BYTES / keyBytes / RANGE_STEP) * RANGE_STEP
  return {
    queryRows: Math.max(LEAST_CHUNK_ROWS, Math.floor(CHUNK_ROWS / Math.max(1, batch * heads))),
    keyRows: Math.max(RANGE_STEP, Math.min(MAX_RANGE_KEYS, keys)),
  }
}

/** The query chunks of a call, in order. */
export function queryChunks({ queries }: AttentionShape, { queryRows }: Partition): RowRange[] {
  return Array.from({ length: ceilDivide(queries, queryRows) }, (_, chunk) => chunkOf(queries, queryRows, chunk))
}

/** Query chunk number `chunk`. */
export function chunkOf(queries: number, queryRows: number, chunk: number): RowRange {
  return { start: chunk * queryRows, end: Math.min(queries, (chunk + 1) * queryRows) }
}

/**
 * The key ranges that some row of a query chunk sees, in key order. A chunk that sees none gets the first range, whose
 * partial says so.
 */
export function keyRangesOf(
  { keys }: AttentionShape,
  { keyRows }: Partition,
  rows: RowRange,
  settings: AttentionSettings,
): RowRange[] {
  const rule = positionRule(settings)
  const first = keysSeenFrom(rows.start + settings.queryOffset, rule, keys)
  const last = keysSeenFrom(rows.end - 1 + settings.queryOffset, rule, keys)
  const ranges = Array.from({ length: ceilDivide(keys, keyRows) }, (_, range) => ({
    start: range * keyRows,
    end: Math.min(keys, (range + 1) * keyRows),
  }))
  const seenUntil = Math.min(last.end, ...(settings.keyLengths ? [Math.max(...settings.keyLengths)] : []))
  const visible = ranges.filter(({ start, end }) => end > first.start && start < seenUntil)
  return visible.length > 0 ? visible : ranges.slice(0, 1)
}

function positionRule({ causal, windowBefore, windowAfter }: AttentionSettings): PositionRule {
  return { causal, windowBefore: windowBefore ?? Infinity, windowAfter: windowAfter ?? Infinity }
}

/** @throws {OptionError} when the call would be cut into more jobs than one flow can hold */
export function checkJobCount(shape: AttentionShape, partition: Partition): void {
  const most = ceilDivide(shape.queries, partition.queryRows) * (ceilDivide(shape.keys, partition.keyRows) + 1) + 1
  if (most <= MAX_JOBS) return
  const { queryRows, keyRows } = partition
  throw new OptionError(
    `fleet.attention: expected at most ${MAX_JOBS} jobs, got up to ${most}; a larger queryRows (${queryRows}) or keyRows (${keyRows}) makes fewer`,
  )
}
