import { FormatError } from '../../core/errors.ts'
import type { Tensor, TensorData } from '../../core/tensor.ts'
import type { TensorEntry } from './safetensors-header.ts'

/**
 * The elements of an entry as Heddle holds them: F64, F32, F16 and BF16 as float32, I64 and I32 as int32, U8 and BOOL
 * as bytes.
 *
 * @param bytes exactly the entry's bytes, little-endian
 * @throws {FormatError} when an I64 value is outside int32
 */
export function decodeElements(entry: TensorEntry, bytes: Uint8Array): Tensor<TensorData> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return { data: decode(entry, view), shape: entry.shape }
}

function decode({ name, type, elements }: TensorEntry, view: DataView): TensorData {
  const floats = (read: (index: number) => number): Float32Array => fill(new Float32Array(elements), read)
  switch (type) {
    case 'F32':
      return floats((index) => view.getFloat32(index * 4, true))
    case 'F64':
      return floats((index) => view.getFloat64(index * 8, true))
    case 'F16':
      return floats((index) => halfToNumber(view.getUint16(index * 2, true)))
    case 'BF16':
      return bfloatsToFloats(view, elements)
    case 'I32':
      return fill(new Int32Array(elements), (index) => view.getInt32(index * 4, true))
    case 'I64':
      return fill(new Int32Array(elements), (index) => narrow(name, view.getBigInt64(index * 8, true)))
    case 'U8':
    case 'BOOL':
      return fill(new Uint8Array(elements), (index) => view.getUint8(index))
  }
}

function fill<Data extends TensorData>(data: Data, read: (index: number) => number): Data {
  for (let index = 0; index < data.length; index++) data[index] = read(index)
  return data
}

/** A bfloat16 is the upper half of a float32. */
function bfloatsToFloats(view: DataView, elements: number): Float32Array {
  const bits = new Uint32Array(elements)
  for (let index = 0; index < elements; index++) bits[index] = view.getUint16(index * 2, true) << 16
  return new Float32Array(bits.buffer)
}

/** IEEE 754 binary16: 1 sign, 5 exponent, 10 fraction bits. */
function halfToNumber(half: number): number {
  const sign = half & 0x8000 ? -1 : 1
  const exponent = (half >>> 10) & 0x1f
  const fraction = half & 0x3ff
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN
  if (exponent === 0) return sign * fraction * 2 ** -24
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
}

function narrow(name: string, value: bigint): number {
  if (value < -(2n ** 31n) || value >= 2n ** 31n)
    throw new FormatError(`safetensors: expected ${name}'s I64 values to fit int32, got ${value}`)
  return Number(value)
}
