import type { Operation, Value } from './operation.ts'

/** A value that a stage writes to memory. */
export interface StoredValue {
  /** what stands in a register */
  readonly from: Value
  /** where it goes: itself, a cache that it is added to, or its place in a slab */
  readonly to: Value
  /** rows of `to` before those of `from`: what a cache holds already */
  readonly shift: number
}

/** What a stage does to a tile of rows, one after the other. */
export type StageItem =
  | { readonly kind: 'load'; readonly value: Value }
  | { readonly kind: 'operation'; readonly operation: Operation }
  | { readonly kind: 'store'; readonly stored: StoredValue }
