import { OptionError, ShapeError } from './errors.ts'
import { checkedProduct, isSize } from './integers.ts'

/** The element types that cross the public surface. */
export type TensorData = Float32Array | Int32Array | Uint8Array

/** A dense row-major array: `data.length` is the product of `shape`. */
export interface Tensor<Data extends TensorData = Float32Array> {
  readonly data: Data
  readonly shape: readonly number[]
}

/**
 * A tensor over `data`, which is neither copied nor changed.
 *
 * @param data row-major elements; its buffer may be shared
 * @param shape sizes, outermost first; their product is `data.length`
 * @throws {ShapeError} when a size is no integer ≥ 0, or the product is not the length
 * @throws {OptionError} when `data` is not a Float32Array, Int32Array or Uint8Array
 */
export function tensor<Data extends TensorData>(data: Data, shape: readonly number[]): Tensor<Data> {
  if (!isTensorData(data)) throw new OptionError(`tensor: expected a Float32Array, Int32Array or Uint8Array, got ${describe(data)}`)
  checkShape('tensor', shape)
  const elements = checkedProduct(shape, 'tensor')
  if (elements !== data.length) {
    throw new ShapeError(`tensor: expected ${elements} elements for shape ${formatShape(shape)}, got ${data.length}`)
  }
  return { data, shape: [...shape] }
}

/** Whether `value` is a typed array that a tensor may hold. */
function isTensorData(value: unknown): value is TensorData {
  return value instanceof Float32Array || value instanceof Int32Array || value instanceof Uint8Array
}

/** @throws {ShapeError} unless `shape` is an array of safe integers ≥ 0 */
export function checkShape(what: string, shape: unknown): asserts shape is readonly number[] {
  if (!Array.isArray(shape) || !shape.every(isSize)) {
    throw new ShapeError(`${what}: expected a shape of integers ≥ 0, got ${Array.isArray(shape) ? formatShape(shape) : describe(shape)}`)
  }
}

/** @throws {OptionError} unless `value` is a tensor with data of `Class`; @throws {ShapeError} unless its shape is its length */
export function checkTensor<Data extends TensorData>(what: string, Class: new (length: number) => Data, value: unknown): asserts value is Tensor<Data> {
  const candidate = value as Partial<Tensor<Data>> | null | undefined
  if (typeof candidate !== 'object' || candidate === null || !('data' in candidate)) throw new OptionError(`${what}: expected a tensor { data: ${Class.name}, shape }, got ${describe(value)}`)
  if (!(candidate.data instanceof Class)) throw new OptionError(`${what}: expected data as a ${Class.name}, got ${describe(candidate.data)}`)
  const shape: unknown = candidate.shape
  if (!Array.isArray(shape) || !shape.every(isSize)) throw new ShapeError(`${what}: expected a shape of integers ≥ 0, got ${Array.isArray(shape) ? formatShape(shape) : describe(shape)}`)
  const elements = shape.reduce((product: number, size) => product * size, 1)
  if (elements !== candidate.data.length) throw new ShapeError(`${what}: expected ${elements} elements for shape ${formatShape(shape)}, got ${candidate.data.length}`)
}

/** A shape as it reads in messages: `[2, 8, N, 64]`. */
export function formatShape(shape: readonly unknown[]): string {
  return `[${shape.map(String).join(', ')}]`
}

/** What a wrong value was, for messages: its class or type, and the value where it is short. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value)
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 40))
  if (typeof value === 'object') return Array.isArray(value) ? `an array of ${value.length}` : (value.constructor as { name?: string } | undefined)?.name ?? 'an object'
  if (typeof value === 'function') return 'a function'
  return `${typeof value} ${(value as number | boolean | bigint | symbol).toString()}`
}
