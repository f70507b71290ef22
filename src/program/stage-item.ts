import type { Operation, Value } from './operation.ts'

/** A value that a stage writes to memory. */
export interface StoredValue {
  /** what is in a register */
  readonly from: Value
  /** where it goes: itself, a cache that it is added to, or its place in a slab */
  readonly to: Value
  /**
   * rows of `to` before those of `from`, which a cache holds already: one entry per sequence, or a single entry for all
   * of them
   */
  readonly shifts: readonly number[]
}

/** What a stage does to a tile of rows, one after the other. */
export type StageItem =
  | { readonly kind: 'load'; readonly value: Value }
  | { readonly kind: 'operation'; readonly operation: Operation }
  | { readonly kind: 'store'; readonly stored: StoredValue }
