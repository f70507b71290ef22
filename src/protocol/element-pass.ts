import type { ElementBlock } from '../core/element-blocks.ts'
import type { ArrayId } from './task.ts'

/**
 * Loops over elements of arrays in shared memory, which write in place: each block is a chunk. A chunk can run twice,
 * as loops do not write what they read.
 */
export interface ElementsPass {
  readonly kind: 'elements'
  readonly blocks: readonly ElementBlock<ArrayId>[]
  /** the bytes of a float64 per block, for its sum */
  readonly sums: ArrayId
}

/** One chunk of it. */
export interface ElementsWork {
  readonly kind: 'elements'
  readonly block: ElementBlock<ArrayId>
  readonly sums: ArrayId
  /** the place of its sum */
  readonly index: number
}
