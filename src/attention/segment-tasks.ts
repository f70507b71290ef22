import { ofBatch } from '../plan/attention-sizes.ts'
import type { KeySegment } from '../plan/key-segments.ts'
import type { KeySegmentTask, ScoredHead } from '../protocol/backward-task.ts'
import type { Slice, TaskArray } from '../protocol/task.ts'
import type { SegmentCall } from './backward-call.ts'
import type { ScoreStrides } from './broadcast.ts'
import type { Strides } from './layout.ts'
import type { Operands } from '../scheduler/operands.ts'

/** Rows between two turns of a lane's event loop where the call does not say. */
const DEFAULT_STEP_ROWS = 256

/** A part of a tensor that a task reads, by the task's batch and head. */
interface RowsOf {
  readonly array: Float32Array
  readonly strides: Strides
  readonly columns: number
}

/** Makes the slices that tasks over key segments read; the one place that knows how a call's tensors reach them. */
export class SegmentTasks {
  constructor(
    private readonly call: SegmentCall,
    private readonly operands: Operands,
    private readonly inputs: {
      readonly query: Float32Array
      readonly key: Float32Array
      readonly logSumExp: Float32Array
    },
    /** whether, by transfer, query rows stay with a lane from task to task; else they travel with each */
    private readonly resident = true,
  ) {}

  /** What all heads of a task share. */
  shared(batch: number, keyHead: number, segment: KeySegment): KeySegmentTask {
    const {
      layout: {
        sizes: { queries, keys, headSize },
        key,
      },
      options: { settings, queryOffset, keyLength, segments, chunkSize },
    } = this.call
    return {
      settings,
      rows: queries,
      ...segment,
      keyLength: ofBatch(keyLength, batch),
      queryOffset: ofBatch(queryOffset, batch),
      stepRows: chunkSize ?? DEFAULT_STEP_ROWS,
      key: this.keyRows({ array: this.inputs.key, strides: key, columns: headSize }, batch, keyHead, segment),
      ...(segments === null
        ? {}
        : {
            querySegments: this.#numbers('query segments', segments.query, batch, queries),
            keySegments: this.#numbers('key segments', segments.key, batch, keys),
          }),
    }
  }

  /** One query head's scores against the segment. */
  scored(batch: number, head: number, segment: KeySegment): ScoredHead {
    const {
      layout: {
        sizes: { heads, headSize },
        query,
      },
      options: { alibiSlopes, mask, bias },
      rowStrides,
    } = this.call
    const batchHead = batch * heads + head
    return {
      batchHead,
      alibiSlope: alibiSlopes?.[batchHead % alibiSlopes.length] ?? 0,
      query: this.headRows('query', { array: this.inputs.query, strides: query, columns: headSize }, batch, head),
      logSumExp: this.headRows(
        'logSumExp',
        { array: this.inputs.logSumExp, strides: rowStrides, columns: 1 },
        batch,
        head,
      ),
      ...(mask === null ? {} : { mask: this.#overScores(mask, batch, head, segment) }),
      ...(bias === null ? {} : { bias: this.#overScores(bias, batch, head, segment) }),
    }
  }

  /** All query rows of a head. By transfer they stay with a lane while it works on the head. */
  headRows(name: string, { array, strides, columns }: RowsOf, batch: number, head: number): Slice {
    const offset = batch * strides.batch + head * strides.head
    const part = {
      array,
      offset,
      rows: this.call.layout.sizes.queries,
      rowStride: strides.row,
      columns,
      columnStride: 1,
    }
    return this.operands.slice(part, this.#residentKey(`${name}:${batch}:${head}`))
  }

  /** The segment's rows of a key head, addressed from key 0. */
  keyRows(
    { array, strides, columns }: RowsOf,
    batch: number,
    keyHead: number,
    { keyStart, keyEnd }: KeySegment,
  ): Slice {
    const offset = batch * strides.batch + keyHead * strides.head + keyStart * strides.row
    const slice = this.operands.slice({
      array,
      offset,
      rows: keyEnd - keyStart,
      rowStride: strides.row,
      columns,
      columnStride: 1,
    })
    return { ...slice, offset: slice.offset - keyStart * slice.rowStride }
  }

  /** A batch's segment numbers. */
  #numbers(name: string, array: Int32Array, batch: number, rows: number): Slice {
    const part = { array, offset: batch * rows, rows, rowStride: 1, columns: 1, columnStride: 1 }
    return this.operands.slice(part, this.#residentKey(`${name}:${batch}`))
  }

  #residentKey(name: string): string | undefined {
    return this.resident ? name : undefined
  }

  /** The segment's columns of a mask or a bias, addressed from key 0. */
  #overScores(
    { data, strides }: { readonly data: TaskArray; readonly strides: ScoreStrides },
    batch: number,
    head: number,
    segment: KeySegment,
  ): Slice {
    const { keyStart, keyEnd } = segment
    const { start = 0 } = strides
    const offset = start + batch * strides.batch + head * strides.head + keyStart * strides.column
    const part = {
      array: data,
      offset,
      rows: this.call.layout.sizes.queries,
      rowStride: strides.row,
      columns: keyEnd - keyStart,
      columnStride: strides.column,
    }
    const slice = this.operands.slice(part)
    return { ...slice, offset: slice.offset - keyStart * (slice.columnStride ?? 1) }
  }
}
