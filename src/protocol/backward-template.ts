import { ofBatch } from '../plan/attention-sizes.ts'
import type { KeySegment } from '../plan/key-segments.ts'
import type { AttentionBackwardTask, BackwardHead } from './backward-task.ts'
import type { HeadSlice } from './stage.ts'
import type { AttentionSettings, Slice } from './task.ts'

/** Rows of heads over the whole batch; columns may be broadcast, as a mask's. */
export type BatchHeads = HeadSlice & { readonly batchStride: number; readonly columnStride?: number }

/** Attention's gradients for any (batch, key head, key segment): a task of it is this and a number. */
export interface BackwardTemplate {
  readonly settings: AttentionSettings
  readonly batch: number
  /** M and N */
  readonly rows: number
  readonly keys: number
  /** H and Hkv */
  readonly heads: number
  readonly keyHeads: number
  /** of each batch, or a single entry for all of them; every batch has as many segments */
  readonly segments: readonly (readonly KeySegment[])[]
  readonly keyLength: readonly number[]
  readonly queryOffset: readonly number[]
  /** [H] or [B·H] */
  readonly alibiSlopes: Float32Array | null
  readonly query: BatchHeads
  readonly key: BatchHeads
  readonly value: BatchHeads
  readonly output: BatchHeads
  readonly dOutput: BatchHeads
  readonly logSumExp: BatchHeads
  readonly mask: BatchHeads | null
  readonly bias: BatchHeads | null
  /** Int32 [B, M] and [B, N] */
  readonly querySegments: BatchHeads | null
  readonly keySegments: BatchHeads | null
  /** a slot for each segment, `slotStride` elements after another */
  readonly dQuery: BatchHeads & { readonly slotStride: number }
  readonly dKey: BatchHeads
  readonly dValue: BatchHeads
}

/** Rows of work between two moments at which the lane may take a turn of its event loop. */
const STEP_ROWS = 512

export function segmentsPerHead({ segments }: BackwardTemplate): number {
  return segments[0]?.length ?? 0
}

export function backwardTaskCount(template: BackwardTemplate): number {
  return template.batch * template.keyHeads * segmentsPerHead(template)
}

/** Task `index`: batch after batch, key head after key head, segments in key order. */
export function backwardTask(template: BackwardTemplate, index: number): AttentionBackwardTask {
  const count = segmentsPerHead(template)
  const place = Math.floor(index / count)
  const batch = Math.floor(place / template.keyHeads)
  const keyHead = place % template.keyHeads
  const slot = index % count
  const { keyStart, keyEnd } = (template.segments[batch] ?? template.segments[0])?.[slot] as KeySegment
  const group = template.heads / template.keyHeads
  const { querySegments, keySegments } = template
  return {
    kind: 'attention-backward',
    settings: template.settings,
    rows: template.rows,
    keyStart,
    keyEnd,
    keyLength: ofBatch(template.keyLength, batch),
    queryOffset: ofBatch(template.queryOffset, batch),
    key: sliceOf(template.key, batch, keyHead),
    value: sliceOf(template.value, batch, keyHead),
    ...(querySegments === null || keySegments === null
      ? {}
      : { querySegments: sliceOf(querySegments, batch, 0), keySegments: sliceOf(keySegments, batch, 0) }),
    stepRows: STEP_ROWS,
    heads: Array.from({ length: group }, (_, each) => headOf(template, batch, keyHead * group + each, slot)),
    dKey: sliceOf(template.dKey, batch, keyHead, keyStart),
    dValue: sliceOf(template.dValue, batch, keyHead, keyStart),
    slopeGradient: false,
  }
}

function headOf(template: BackwardTemplate, batch: number, head: number, slot: number): BackwardHead {
  const { alibiSlopes, mask, bias, dQuery } = template
  const batchHead = batch * template.heads + head
  return {
    batchHead,
    alibiSlope: alibiSlopes?.[batchHead % alibiSlopes.length] ?? 0,
    query: sliceOf(template.query, batch, head),
    logSumExp: sliceOf(template.logSumExp, batch, head),
    ...(mask === null ? {} : { mask: sliceOf(mask, batch, head) }),
    ...(bias === null ? {} : { bias: sliceOf(bias, batch, head) }),
    output: sliceOf(template.output, batch, head),
    dOutput: sliceOf(template.dOutput, batch, head),
    dQuery: sliceOf({ ...dQuery, offset: dQuery.offset + slot * dQuery.slotStride }, batch, head),
  }
}

function sliceOf(
  { array, offset, batchStride, headStride, rowStride, columnStride }: BatchHeads,
  batch: number,
  head: number,
  row = 0,
): Slice {
  return {
    array,
    offset: offset + batch * batchStride + head * headStride + row * rowStride,
    rowStride,
    ...(columnStride === undefined ? {} : { columnStride }),
  }
}
