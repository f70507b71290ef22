import {
  FEW_ROWS,
  FLAG_EXTREME_SCORES,
  FLAG_EXTREME_VALUES,
  FLAG_ROW_MAJOR_KEYS,
  FLAG_ROW_MAJOR_VALUES,
  P_BLOCK_START,
  P_COUNTER_KEY,
  P_KEYS,
} from '../../../assembly/abi.ts'
import type { AttentionArena } from '../../plan/arena.ts'
import type { AttentionTask } from '../../protocol/task.ts'
import type { TaskContext } from '../backend.ts'
import type { Arena } from './arena.ts'
import { copyIn } from './copy-rows.ts'
import { segmentRange, type SegmentRange } from './visibility.ts'

/** A block of keys as it lies in the arena. */
export interface KeyBlock {
  readonly start: number
  readonly keys: number
  /** FLAG_EXTREME_… and FLAG_ROW_MAJOR_… of what was loaded */
  flags: number
  readonly segments: SegmentRange | undefined
}

/** Brings blocks of keys and values from the task's arrays into the arena. */
export class KeyBlocks {
  constructor(
    private readonly arena: Arena,
    private readonly layout: AttentionArena,
    private readonly task: AttentionTask,
    private readonly context: TaskContext,
  ) {}

  /**
   * The first block of [keyStart, keyEnd); null where there is none. Only its segments are loaded yet. Blocks end at
   * multiples of their rows wherever the first one starts: that decides which sums are formed.
   */
  first(): KeyBlock | null {
    return this.#from(this.task.keyStart)
  }

  /** The block that follows. */
  after({ start, keys }: KeyBlock): KeyBlock | null {
    return this.#from(start + keys)
  }

  #from(start: number): KeyBlock | null {
    const { keyEnd } = this.task
    const { blockRows } = this.layout
    return start >= keyEnd ? null : this.#open(start, Math.min(keyEnd, start - (start % blockRows) + blockRows) - start)
  }

  #open(start: number, keys: number): KeyBlock {
    const { keySegments: slice } = this.task
    let segments: SegmentRange | undefined
    if (slice !== undefined) {
      const at = this.layout.keySegments >> 2
      copyIn(this.arena.integers, at, 1, this.context.array(slice.array) as Int32Array, slice, start, keys, 0, 1)
      segments = segmentRange(this.arena.integers, at, keys)
    }
    this.arena.setInteger(P_KEYS, keys)
    this.arena.setInteger(P_COUNTER_KEY, Math.floor(start / 4))
    this.arena.setInteger(P_BLOCK_START, start)
    return { start, keys, flags: 0, segments }
  }

  loadKeys(block: KeyBlock): void {
    const {
      arena: { kernels },
      layout,
      task: {
        key,
        rows,
        settings: { headSize },
      },
    } = this
    const few = rows <= FEW_ROWS
    if (this.#copy(few ? layout.key : layout.raw, key, block, headSize)) block.flags |= FLAG_EXTREME_SCORES
    if (few) block.flags |= FLAG_ROW_MAJOR_KEYS
    else kernels.packKeys(layout.raw, layout.key, block.keys, headSize)
  }

  loadValues(block: KeyBlock): void {
    const {
      arena: { kernels },
      layout,
      task: {
        value,
        rows,
        settings: { valueSize },
      },
    } = this
    const few = rows <= FEW_ROWS
    const extreme = this.#copy(few ? layout.value : layout.raw, value, block, valueSize)
    if (extreme) block.flags |= FLAG_EXTREME_VALUES
    if (few && !extreme) {
      block.flags |= FLAG_ROW_MAJOR_VALUES
      return
    }
    if (few) this.#copy(layout.raw, value, block, valueSize)
    kernels.packValues(layout.raw, layout.value, block.keys, valueSize)
  }

  /** Rows to byte `at`. Returns whether they hold NaN, an infinity or a very large number. */
  #copy(at: number, slice: AttentionTask['key'], { start, keys }: KeyBlock, width: number): boolean {
    copyIn(
      this.arena.floats,
      at >> 2,
      width,
      this.context.array(slice.array) as Float32Array,
      slice,
      start,
      keys,
      0,
      width,
    )
    return this.arena.kernels.hasExtremes(at, keys * width) !== 0
  }
}
