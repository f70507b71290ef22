import type { ResolvedOptions } from '../../attention/resolve-options.ts'
import { ofBatch, visiblePairs, type Visibility } from '../../plan/attention-sizes.ts'
import { CONTEXT_ARRAY } from '../../protocol/stage.ts'
import type { AttentionTask, Slice, TaskArray } from '../../protocol/task.ts'
import type { Chunk, HeadBuffer } from './buffers.ts'
import type { StageBinder } from './stage-binder.ts'

/** Attention as the first part of a stage: every head of a chunk of rows over all keys. */
export class StageAttention {
  readonly context: Slice
  readonly #visibility: Visibility

  /** @param keys N: the first rows of `key` and `value` that count */
  constructor(
    readonly query: HeadBuffer,
    readonly key: HeadBuffer,
    readonly value: HeadBuffer,
    readonly keys: number,
    readonly options: ResolvedOptions,
  ) {
    this.context = { array: CONTEXT_ARRAY, offset: 0, rowStride: this.width }
    this.#visibility = { ...options.settings, queryOffset: options.queryOffset, keyLength: options.keyLength }
  }

  /** H·Dv */
  get width(): number {
    return this.query.heads * this.value.headSize
  }

  /** Bytes of one lane's copies of keys, values and their segments, where memory is not shared. */
  get keyCopyBytes(): number {
    const segments = this.options.segments === null ? 0 : this.keys * 4
    return this.key.heads * this.keys * (this.key.headSize + this.value.headSize) * 4 + segments
  }

  /** The arrays of mask, bias and segments. */
  get optionArrays(): TaskArray[] {
    const { mask, bias, segments } = this.options
    return [...(mask === null ? [] : [mask.data]), ...(bias === null ? [] : [bias.data]), ...(segments === null ? [] : [segments.query, segments.key])]
  }

  /** Bytes of mask, bias and segments that travel with each row of a chunk, for every head, where memory is not shared. */
  get optionRowBytes(): number {
    const { mask, bias, segments } = this.options
    const { heads, rows } = this.query
    const overScores = [mask, bias].reduce((sum, part) => {
      if (part === null || (part.strides.row === 0 && rows > 1)) return sum
      return sum + (part.strides.column === 0 ? 1 : this.keys) * part.data.BYTES_PER_ELEMENT
    }, 0)
    return heads * (overScores + (segments === null ? 0 : 4))
  }

  flops({ batch, rowStart, rows }: Chunk): number {
    const perPair = 2 * (this.query.headSize + this.value.headSize) * this.query.heads
    return visiblePairs(rowStart, rows, batch, this.#visibility) * perPair
  }

  /** One task a head. */
  tasks(binder: StageBinder): AttentionTask[] {
    const { heads } = this.query
    return Array.from({ length: heads }, (_, head) => this.#task(binder, head))
  }

  #task(binder: StageBinder, head: number): AttentionTask {
    const { batch, rowStart, rows } = binder.chunk
    const { settings, queryOffset, keyLength, alibiSlopes, segments, mask, bias } = this.options
    const { heads, rows: queries } = this.query
    const keyHead = Math.floor((head * this.key.heads) / heads)
    const overScores = ({ data, strides }: NonNullable<typeof mask | typeof bias>): Slice =>
      binder.part(data, batch * strides.batch + head * strides.head + rowStart * strides.row, rows, strides.row, this.keys, undefined, strides.column)
    return {
      kind: 'attention',
      settings,
      batchHead: batch * heads + head,
      rowStart,
      rows,
      keyStart: 0,
      keyEnd: this.keys,
      keyLength: ofBatch(keyLength, batch),
      queryOffset: ofBatch(queryOffset, batch),
      alibiSlope: alibiSlopes?.[(batch * heads + head) % alibiSlopes.length] ?? 0,
      query: binder.headRows(this.query, head),
      key: binder.allRows(this.key, keyHead, this.keys),
      value: binder.allRows(this.value, keyHead, this.keys),
      ...(mask === null ? {} : { mask: overScores(mask) }),
      ...(bias === null ? {} : { bias: overScores(bias) }),
      ...(segments === null
        ? {}
        : {
            querySegments: binder.part(segments.query, batch * queries + rowStart, rows, 1, 1),
            keySegments: binder.part(segments.key, batch * this.keys, this.keys, 1, 1, `segments:${batch}`),
          }),
      output: { array: CONTEXT_ARRAY, offset: head * this.value.headSize, rowStride: this.width },
    }
  }
}
