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

export type MovingSlice = Slice & Motion
export type MovingHeads = HeadSlice & Motion

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
  /** one a query head */
  readonly heads: readonly {
    readonly query: MovingSlice
    readonly key: MovingSlice
    readonly value: MovingSlice
    readonly mask: MovingSlice | null
    readonly bias: MovingSlice | null
  }[]
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
    attention: attention === null ? null : { width: attention.width, tasks: attention.heads.map((_, head) => headTask(attention, head, chunk)) },
    steps: stage.steps.map((step) => placeStep(step, chunk)),
  }
}

function headTask(attention: AttentionTemplate, head: number, chunk: Chunk): AttentionTask {
  const { settings, keys, width, keyLength, queryOffset, alibiSlopes, querySegments, keySegments, heads } = attention
  const { query, key, value, mask, bias } = heads[head] as AttentionTemplate['heads'][number]
  const batchHead = chunk.batch * heads.length + head
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
    query: placed(query, chunk),
    key: placed(key, chunk),
    value: placed(value, chunk),
    ...(mask === null ? {} : { mask: placed(mask, chunk) }),
    ...(bias === null ? {} : { bias: placed(bias, chunk) }),
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
      return { ...step, to: step.to === 'returned' ? step.to : placed(step.to, chunk) }
    default:
      return step
  }
}

function placed<S extends { readonly offset: number }>({ batchStride, startStride, ...slice }: S & Motion, { batch, rowStart }: Chunk): Omit<S & Motion, keyof Motion> {
  return { ...slice, offset: slice.offset + batch * batchStride + rowStart * startStride }
}
