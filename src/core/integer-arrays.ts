import { OptionError } from './errors.ts'

/** Integers of any size, as tokenizers and other libraries give token ids and masks. */
export type IntegerArray =
  | Int8Array
  | Uint8Array
  | Uint8ClampedArray
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array

/** A dense row-major array of integers of any size. */
export interface IntegerTensor {
  /** row-major */
  readonly data: IntegerArray
  /** sizes of the axes, outermost first */
  readonly shape: readonly number[]
}

/** Whether `value` is a typed array of integers, also one of another realm. */
export function isIntegerArray(value: unknown): value is IntegerArray {
  const kind = ArrayBuffer.isView(value) ? (value as Partial<Uint8Array>)[Symbol.toStringTag] : undefined
  return kind !== undefined && /int|clamped/i.test(kind)
}

/** A copy as int32. @throws {OptionError} when a value is outside int32 */
export function toInt32(what: string, integers: IntegerArray): Int32Array {
  return Int32Array.from(integers as ArrayLike<number | bigint>, (value) => {
    const number = Number(value)
    if (number !== (number | 0)) throw new OptionError(`${what}: expected integers within int32, got ${value}`)
    return number
  })
}

/** A copy as bytes: 1 where a value is not 0. */
export function toMask(integers: IntegerArray): Uint8Array {
  return Uint8Array.from(integers as ArrayLike<number | bigint>, (value) => (value ? 1 : 0))
}

/** A list of integers of any size as int32, or undefined for anything else. @throws {OptionError} beyond int32 */
export function asInt32(what: string, value: unknown): Int32Array | undefined {
  if (value instanceof Int32Array) return value
  return isIntegerArray(value) ? toInt32(what, value) : undefined
}
