import { ofBatch } from '../plan/attention-sizes.ts'
import { CONTEXT_ARRAY, type HeadSlice, type RowStageTask, type RowStep } from './stage.ts'
import type { AttentionSettings, AttentionTask, Slice } from './task.ts'

/** Rows that a task works on: [rowStart, rowStart + rows) of one batch. */
export interface Chunk {
  readonly batch: number
  readonly rowStart: number
  readonly rows: number
}

/** How a part of a tensor moves with the chunk: it starts at `offset + batch·batchStride + rowStart·startStride`. */
export interface Motion {
  readonly batchStride: number
  readonly startStride: number
}

/** Of what stands at the same place for every chunk. */
export const STILL: Motion = { batchStride: 0, startStride: 0 }

export type MovingSlice = Slice & Motion
export type MovingHeads = HeadSlice & Motion

/** Every head's rows: head h of one slice `headStride` elements after another, or a slice of its own for each. */
export type SlicesOfHeads = (MovingSlice & { readonly headStride: number }) | readonly MovingSlice[]

/** Attention as the first part of a stage, for any chunk of it. */
export interface AttentionTemplate {
  readonly settings: AttentionSettings
  /** N: the first rows of key and value that count */
  readonly keys: number
  /** H·Dv */
  readonly width: number
  /** one a batch, or a single one for all; so too `queryOffset` */
  readonly keyLength: readonly number[]
  readonly queryOffset: readonly number[]
  /** [H] or [B·H]: head h of batch b has slope (b·H + h) mod length */
  readonly alibiSlopes: Float32Array | null
  readonly querySegments: MovingSlice | null
  readonly keySegments: MovingSlice | null
  /** H and Hkv */
  readonly heads: number
  readonly keyHeads: number
  readonly query: SlicesOfHeads
  readonly key: SlicesOfHeads
  readonly value: SlicesOfHeads
  readonly mask: SlicesOfHeads | null
  readonly bias: SlicesOfHeads | null
}

/** What a stage does to any chunk of its rows: a task of it is this and three numbers. */
export interface StageTemplate extends Pick<RowStageTask, 'registers' | 'registerBytes' | 'residentLimitBytes'> {
  readonly attention: AttentionTemplate | null
  readonly steps: readonly RowStep<MovingSlice, MovingHeads>[]
}

/** The stage's task for one chunk. */
export function stageTask(stage: StageTemplate, chunk: Chunk): RowStageTask {
  const { registers, registerBytes, residentLimitBytes, attention } = stage
  return {
    kind: 'rows',
    ...chunk,
    registers,
    registerBytes,
    residentLimitBytes,
    attention: attention === null ? null : { width: attention.width, tasks: Array.from({ length: attention.heads }, (_, head) => headTask(attention, head, chunk)) },
    steps: stage.steps.map((step) => placeStep(step, chunk)),
  }
}

function headTask(attention: AttentionTemplate, head: number, chunk: Chunk): AttentionTask {
  const { settings, keys, width, keyLength, queryOffset, alibiSlopes, querySegments, keySegments, heads, keyHeads, mask, bias } = attention
  const batchHead = chunk.batch * heads + head
  const keyHead = Math.floor((head * keyHeads) / heads)
  return {
    kind: 'attention',
    settings,
    batchHead,
    rowStart: chunk.rowStart,
    rows: chunk.rows,
    keyStart: 0,
    keyEnd: keys,
    keyLength: ofBatch(keyLength, chunk.batch),
    queryOffset: ofBatch(queryOffset, chunk.batch),
    alibiSlope: alibiSlopes?.[batchHead % alibiSlopes.length] ?? 0,
    query: ofHead(attention.query, head, chunk),
    key: ofHead(attention.key, keyHead, chunk),
    value: ofHead(attention.value, keyHead, chunk),
    ...(mask === null ? {} : { mask: ofHead(mask, head, chunk) }),
    ...(bias === null ? {} : { bias: ofHead(bias, head, chunk) }),
    ...(querySegments === null || keySegments === null ? {} : { querySegments: placed(querySegments, chunk), keySegments: placed(keySegments, chunk) }),
    output: { array: CONTEXT_ARRAY, offset: head * settings.valueSize, rowStride: width },
  }
}

function placeStep(step: RowStep<MovingSlice, MovingHeads>, chunk: Chunk): RowStep {
  switch (step.op) {
    case 'load':
      return { ...step, from: placed(step.from, chunk) }
    case 'embed':
      return { ...step, tokens: placed(step.tokens, chunk) }
    case 'rotate':
      return { ...step, table: placed(step.table, chunk) }
    case 'store':
      return { ...step, to: step.to === 'returned' ? step.to : placed(step.to, chunk) }
    case 'store-heads':
      return { ...step, to: step.to === 'returned' ? step.to : { ...placed(step.to, chunk), headStride: step.to.headStride } }
    default:
      return step
  }
}

function ofHead(slices: SlicesOfHeads, head: number, chunk: Chunk): Slice {
  if ('headStride' in slices) return placed(slices, chunk, head * slices.headStride)
  return placed(slices[head] as MovingSlice, chunk)
}

function placed({ array, offset, rowStride, columnStride = 1, batchStride, startStride }: MovingSlice, { batch, rowStart }: Chunk, shift = 0): Slice {
  return { array, offset: offset + shift + batch * batchStride + rowStart * startStride, rowStride, columnStride }
}
