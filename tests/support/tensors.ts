import type { Tensor, TensorData } from '../../src/core/tensor.ts'
import type { Random } from './random.ts'

export function product(shape: readonly number[]): number {
  return shape.reduce((sum, size) => sum * size, 1)
}

/** A tensor whose elements are `element(flat index)`. */
export function filled(shape: readonly number[], element: (index: number) => number): Tensor {
  return { data: Float32Array.from({ length: product(shape) }, (_, index) => element(index)), shape }
}

/** Standard normal elements, times `spread`. */
export function normalTensor(random: Random, shape: readonly number[], spread = 1): Tensor {
  return filled(shape, () => spread * random.normal())
}

/** 1 (may attend) with the given probability, else 0; some ones are other nonzero bytes, which mean the same. */
export function maskTensor(random: Random, shape: readonly number[], probability = 0.7): Tensor<Uint8Array> {
  const element = () => (random.chance(probability) ? random.pick([1, 1, 2, 255]) : 0)
  return { data: Uint8Array.from({ length: product(shape) }, element), shape }
}

/** Integers from 0 to `kinds` − 1. */
export function integerTensor(random: Random, shape: readonly number[], kinds: number): Tensor<Int32Array> {
  return { data: Int32Array.from({ length: product(shape) }, () => random.integer(0, kinds - 1)), shape }
}

/** The same tensor in shared memory. */
export function shared<Data extends TensorData>(tensor: Tensor<Data>): Tensor<Data> {
  return { data: sharedArray(tensor.data), shape: tensor.shape }
}

export function sharedArray<Data extends TensorData>(data: Data): Data {
  const copy = new (data.constructor as new (buffer: SharedArrayBuffer) => Data)(new SharedArrayBuffer(data.byteLength))
  copy.set(data)
  return copy
}

/** The bytes of an array, to compare bit for bit (NaN payloads and −0 included). */
export function bytesOf(array: ArrayBufferView): Uint8Array {
  return Uint8Array.from(new Uint8Array(array.buffer, array.byteOffset, array.byteLength))
}

/** FNV-1a over the bytes: a short name for a bit pattern, for messages and comparisons. */
export function fingerprint(array: ArrayBufferView): string {
  let hash = 0x811c9dc5
  for (const byte of new Uint8Array(array.buffer, array.byteOffset, array.byteLength))
    hash = Math.imul(hash ^ byte, 0x01000193)
  return (hash >>> 0).toString(16).padStart(8, '0')
}
