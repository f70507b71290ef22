import type { ResolvedOptions } from '../../attention/resolve-options.ts'
import { visiblePairs, type Visibility } from '../../plan/attention-sizes.ts'
import { CONTEXT_ARRAY } from '../../protocol/stage.ts'
import { STILL, type AttentionTemplate, type Chunk, type MovingSlice } from '../../protocol/stage-template.ts'
import type { TaskArray } from '../../protocol/task.ts'
import type { HeadBuffer } from './buffers.ts'
import type { StageBinder } from './stage-binder.ts'

/** Attention as the first part of a stage: every head of a chunk of rows over all keys. */
export class StageAttention {
  readonly context: MovingSlice
  readonly #visibility: Visibility

  /** @param keys N: the first rows of `key` and `value` that count */
  constructor(
    readonly query: HeadBuffer,
    readonly key: HeadBuffer,
    readonly value: HeadBuffer,
    readonly keys: number,
    readonly options: ResolvedOptions,
  ) {
    this.context = { array: CONTEXT_ARRAY, offset: 0, rowStride: this.width, ...STILL }
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

  /** What a chunk's task does to its rows, head by head. */
  template(binder: StageBinder): AttentionTemplate {
    const { query, key, value, keys, options, width } = this
    const { settings, queryOffset, keyLength, alibiSlopes, segments, mask, bias } = options
    return {
      settings,
      keys,
      width,
      keyLength,
      queryOffset,
      alibiSlopes,
      querySegments: segments === null ? null : binder.numbers(segments.query, query.rows, true),
      keySegments: segments === null ? null : binder.numbers(segments.key, keys, false),
      heads: query.heads,
      keyHeads: key.heads,
      query: binder.headRows(query),
      key: binder.allRows(key, keys),
      value: binder.allRows(value, keys),
      mask: mask === null ? null : binder.overScores(mask, query.heads, keys),
      bias: bias === null ? null : binder.overScores(bias, query.heads, keys),
    }
  }
}
