import { OptionError, ShapeError } from './errors.ts'
import { isIntegerArray, toInt32, toMask, type IntegerArray } from './integer-arrays.ts'
import { checkedProduct, isSize } from './integers.ts'

/** The element types that cross the public surface. */
export type TensorData = Float32Array | Int32Array | Uint8Array

/** A dense row-major array: `data.length` is the product of `shape`. */
export interface Tensor<Data extends TensorData | IntegerArray = Float32Array> {
  /** row-major */
  readonly data: Data
  /** sizes of the axes, outermost first */
  readonly shape: readonly number[]
}

/**
 * A tensor over `data`, which is neither copied nor changed.
 *
 * @param data row-major elements; its buffer may be shared
 * @param shape sizes, outermost first; their product is `data.length`
 * @throws {ShapeError} when a size is no integer ≥ 0, or the product is not the length
 * @throws {OptionError} when `data` is neither a Float32Array nor a typed array of integers
 *
 * @example
 * ```js
 * import { tensor } from 'heddle'
 *
 * const query = tensor(new Float32Array(6), [2, 3]) // two rows of three
 * const tokens = tensor(Int32Array.of(5, 2, 9), [1, 3])
 * console.log(query.shape, tokens.data[2]) // [ 2, 3 ] 9
 * ```
 */
export function tensor<Data extends TensorData | IntegerArray>(data: Data, shape: readonly number[]): Tensor<Data> {
  if (!isOfClass(Float32Array, data) && !isIntegerArray(data))
    throw new OptionError(`tensor: expected a Float32Array or a typed array of integers, got ${describe(data)}`)
  shape = readShape('tensor', shape)
  const elements = checkedProduct(shape, 'tensor')
  if (elements !== data.length) {
    throw new ShapeError(`tensor: expected ${elements} elements for shape ${formatShape(shape)}, got ${data.length}`)
  }
  return { data, shape }
}

/** Whether `value` is a typed array of this kind, also one of another realm: a frame's, or that of a test runner. */
export function isOfClass<Data extends ArrayBufferView>(
  Class: new (length: number) => Data,
  value: unknown,
): value is Data {
  return (
    value instanceof Class ||
    (ArrayBuffer.isView(value) && (value as Partial<Uint8Array>)[Symbol.toStringTag] === Class.name)
  )
}

/** @throws {ShapeError} unless `shape` is an array of safe integers ≥ 0 */
export function checkShape(what: string, shape: unknown): asserts shape is readonly number[] {
  readShape(what, shape)
}

/** The sizes, each read once. @throws {ShapeError} unless `shape` is an array of safe integers ≥ 0, without holes */
export function readShape(what: string, shape: unknown): readonly number[] {
  if (!Array.isArray(shape)) throw new ShapeError(`${what}: expected a shape of integers ≥ 0, got ${describe(shape)}`)
  const sizes: unknown[] = Array.from(shape)
  if (!sizes.every(isSize)) throw new ShapeError(`${what}: expected a shape of integers ≥ 0, got ${formatShape(sizes)}`)
  return sizes
}

/**
 * A caller's tensor with its data and its shape, each read once: what the caller does to the object later does not
 * count. Integers of another size are copied: int32 must hold them, and of a mask (bytes) counts what is not 0.
 *
 * @throws {OptionError} unless `value` is a tensor with data of `Class`
 * @throws {ShapeError} unless its shape is its length
 */
export function readTensor<Data extends TensorData>(
  what: string,
  Class: TensorClass<Data>,
  value: unknown,
): Tensor<Data> {
  if (typeof value !== 'object' || value === null || !('data' in value))
    throw new OptionError(`${what}: expected a tensor { data: ${Class.name}, shape }, got ${describe(value)}`)
  const data = withSize(what, Class, value.data)
  if (!isOfClass(Class, data)) throw new OptionError(`${what}: expected data as a ${Class.name}, got ${describe(data)}`)
  const shape = readShape(what, (value as { readonly shape?: unknown }).shape)
  const elements = shape.reduce((product, size) => product * size, 1)
  if (elements !== data.length)
    throw new ShapeError(
      `${what}: expected ${elements} elements for shape ${formatShape(shape)}, got ${data.length}${data.buffer.byteLength === 0 ? ' (a detached buffer has none)' : ''}`,
    )
  return { data: data instanceof Class ? data : new Class(data.buffer, data.byteOffset, data.length), shape }
}

/** Integers in the size that `Class` has; anything else as it is. */
function withSize(what: string, Class: unknown, data: unknown): unknown {
  if (isOfClass(Class as TensorClass<TensorData>, data) || !isIntegerArray(data)) return data
  if (Class === Int32Array) return toInt32(what, data)
  return Class === Uint8Array ? toMask(data) : data
}

/** A typed array class, as tensors are read by it. */
export interface TensorClass<Data> {
  new (length: number): Data
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): Data
}

/** @throws as `readTensor` does */
export function checkTensor<Data extends TensorData>(
  what: string,
  Class: TensorClass<Data>,
  value: unknown,
): asserts value is Tensor<Data> {
  readTensor(what, Class, value)
}

/** A shape as it reads in messages: `[2, 8, N, 64]`. */
export function formatShape(shape: readonly unknown[]): string {
  return `[${shape.map((size) => (typeof size === 'number' || typeof size === 'string' ? String(size) : describe(size))).join(', ')}]`
}

/** The index of element `place` of a row-major array of that shape, for messages: `[3, 7]`. */
export function formatPlace(place: number, shape: readonly number[]): string {
  const index: number[] = []
  for (const size of shape.toReversed()) {
    index.unshift(place % size)
    place = Math.floor(place / size)
  }
  return formatShape(index)
}

/** What a wrong value was, for messages: its class or type, and the value where it is short. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value)
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 40))
  if (typeof value === 'object') return Array.isArray(value) ? `an array of ${value.length}` : className(value)
  if (typeof value === 'function') return 'a function'
  return `${typeof value} ${(value as number | boolean | bigint | symbol).toString()}`
}

function className({ constructor }: { readonly constructor?: unknown }): string {
  return typeof constructor === 'function' && constructor.name !== '' ? constructor.name : 'an object'
}
