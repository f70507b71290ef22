import { ofBatch } from '../plan/attention-sizes.ts'
import { ofHead, placed, scoresOfHead, type MovingHeads, type MovingScores, type MovingSlice } from './moving-slice.ts'
import type { RowRun } from './stage.ts'
import type { AttentionSettings, AttentionTask } from './task.ts'

/** What attention of every head reads, so that a task of one head is this and a few numbers. */
export interface HeadInputs {
  readonly settings: AttentionSettings
  /** N: the first rows of key and value that count */
  readonly keys: number
  /** one entry per batch, or a single entry for all of them; `queryOffset` works the same way */
  readonly keyLength: readonly number[]
  readonly queryOffset: readonly number[]
  /** [H] or [B·H]: head h of batch b has slope (b·H + h) mod length */
  readonly alibiSlopes: Float32Array | null
  readonly querySegments: MovingSlice | null
  readonly keySegments: MovingSlice | null
  /** H and Hkv */
  readonly heads: number
  readonly keyHeads: number
  readonly query: MovingHeads
  readonly key: MovingHeads
  readonly value: MovingHeads
  readonly mask: MovingScores | null
  readonly bias: MovingScores | null
}

/** A task of attention without the places of its results. */
export type UnplacedTask = Omit<AttentionTask, 'output'>

/** Which rows of which batch. */
export type HeadRows = Pick<RowRun, 'batch' | 'row' | 'rows'>

/** Attention of some rows of one head over all keys. */
export function headTask(inputs: HeadInputs, head: number, run: HeadRows): UnplacedTask {
  const { settings, keys, keyLength, queryOffset, alibiSlopes, querySegments, keySegments, heads, keyHeads } = inputs
  const { mask, bias } = inputs
  const batchHead = run.batch * heads + head
  const keyHead = Math.floor((head * keyHeads) / heads)
  return {
    kind: 'attention',
    settings,
    batchHead,
    rowStart: run.row,
    rows: run.rows,
    keyStart: 0,
    keyEnd: keys,
    keyLength: ofBatch(keyLength, run.batch),
    queryOffset: ofBatch(queryOffset, run.batch),
    alibiSlope: alibiSlopes?.[batchHead % alibiSlopes.length] ?? 0,
    query: ofHead(inputs.query, head, run),
    key: ofHead(inputs.key, keyHead, run),
    value: ofHead(inputs.value, keyHead, run),
    ...(mask === null ? {} : { mask: scoresOfHead(mask, head, run) }),
    ...(bias === null ? {} : { bias: scoresOfHead(bias, head, run) }),
    ...(querySegments === null || keySegments === null
      ? {}
      : { querySegments: placed(querySegments, run), keySegments: placed(keySegments, run) }),
  }
}
