import type { TaskArray } from './task.ts'

const CLASSES = { Float32Array, Int32Array, Uint8Array } as const

/**
 * A view by its parts. V8's structured clone keeps sizes modulo 2³² bytes: of a view of 4 GiB nothing is left, without
 * a word.
 */
export interface PackedArray {
  readonly kind: keyof typeof CLASSES
  /** or a SharedArrayBuffer */
  readonly buffer: ArrayBuffer
  readonly byteOffset: number
  readonly length: number
}

/** A view on a buffer of this size does not survive a clone; the buffer alone does. */
const LARGE_BYTES = 2 ** 32

/** The array as it may be posted: itself, or its parts where it is large. */
export function packLarge(array: TaskArray | PackedArray): TaskArray | PackedArray {
  if (!ArrayBuffer.isView(array) || array.buffer.byteLength < LARGE_BYTES) return array
  const kind =
    array instanceof Float32Array ? 'Float32Array' : array instanceof Int32Array ? 'Int32Array' : 'Uint8Array'
  return { kind, buffer: array.buffer as ArrayBuffer, byteOffset: array.byteOffset, length: array.length }
}

/** The array again. */
export function unpackLarge(array: TaskArray | PackedArray): TaskArray {
  return ArrayBuffer.isView(array) ? array : new CLASSES[array.kind](array.buffer, array.byteOffset, array.length)
}
