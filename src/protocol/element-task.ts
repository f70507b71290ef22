import type { ElementBlock } from '../core/element-blocks.ts'
import type { ArrayId } from './task.ts'

/** Loops over elements of arrays in shared memory, which write in place. They write what they do not read. */
export interface ElementTask {
  readonly kind: 'elements'
  readonly blocks: readonly ElementBlock<ArrayId>[]
}

export interface ElementResult {
  /** one per block; NaN where the loop says so */
  readonly sums: readonly number[]
  readonly elapsedMs: number
}
