import { OptionError } from '../../core/errors.ts'
import { checkedProduct } from '../../core/integers.ts'
import { describe, formatShape, type Tensor, type TensorData } from '../../core/tensor.ts'
import { ByteReader, type ByteSource } from './byte-reader.ts'
import { decodeElements } from './safetensors-elements.ts'
import { parseHeader, readHeaderLength } from './safetensors-header.ts'

/** What a safetensors file holds. */
export interface SafetensorsContent {
  /** by name, in the order of the file; the caller's */
  readonly tensors: Record<string, Tensor<TensorData>>
  /** the strings of the file's `__metadata__` */
  readonly metadata: Readonly<Record<string, string>>
}

/**
 * Reads a safetensors file: eight bytes of header length, a JSON header, and the tensors' bytes. A stream is read as it
 * comes; beyond the tensors themselves, memory holds the header and one tensor's bytes. F16, BF16 and F64 become
 * float32.
 *
 * @param source the whole file as bytes, or a stream of it (`response.body`, `fs.createReadStream`, a Blob)
 * @throws {FormatError} when the file is malformed, ends early, or goes on after its last tensor; nothing outside is
 *   read
 *
 * @example
 * ```js
 * import { tensor } from 'heddle'
 * import { readSafetensors, writeSafetensors } from 'heddle/nn'
 *
 * const bytes = writeSafetensors({ rows: tensor(new Float32Array(6), [2, 3]) }, { note: 'two rows' })
 * const { tensors, metadata } = await readSafetensors(bytes)
 * console.log(tensors.rows.shape, metadata.note) // [ 2, 3 ] two rows
 * ```
 */
export async function readSafetensors(source: ByteSource): Promise<SafetensorsContent> {
  const reader = new ByteReader(source)
  try {
    const headerBytes = readHeaderLength(await reader.take(8, 'the header length'))
    const { entries, metadata } = parseHeader(await reader.take(headerBytes, 'the header'))
    reader.expectLength(8 + headerBytes + (entries.at(-1)?.end ?? 0))
    const tensors: [string, Tensor<TensorData>][] = []
    for (const entry of entries)
      tensors.push([entry.name, decodeElements(entry, await reader.take(entry.end - entry.start, entry.name))])
    await reader.expectEnd()
    return { tensors: Object.fromEntries(tensors), metadata }
  } finally {
    await reader.close()
  }
}

/**
 * The tensors of a safetensors file, for `loadStateDict`, which skips integers such as `position_ids`.
 *
 * @param source the file's bytes, or where to read them
 * @throws {FormatError} when the file is malformed
 */
export async function readStateDict(source: ByteSource): Promise<Record<string, Tensor<TensorData>>> {
  return (await readSafetensors(source)).tensors
}

/**
 * The bytes of a safetensors file with these tensors, in their order.
 *
 * @param tensors by name
 * @param metadata strings to store beside them
 * @returns a new array, the caller's
 *
 * @example
 * ```js
 * import { Linear, readStateDict, writeSafetensors } from 'heddle/nn'
 *
 * const bytes = writeSafetensors(new Linear(64, 16, { seed: 1 }).stateDict(), { note: 'a layer' })
 * const layer = new Linear(64, 16)
 * console.log(layer.loadStateDict(await readStateDict(bytes)).missing) // []
 * ```
 */
export function writeSafetensors(
  tensors: Readonly<Record<string, Tensor<TensorData>>>,
  metadata?: Readonly<Record<string, string>>,
): Uint8Array {
  let end = 0
  const entries = Object.entries(tensors).map(([name, tensor]): [string, unknown] => {
    checkTensorToWrite(name, tensor)
    const start = end
    end += tensor.data.byteLength
    return [name, { dtype: typeOf(tensor.data), shape: tensor.shape, data_offsets: [start, end] }]
  })
  const header = { ...(metadata === undefined ? {} : { __metadata__: metadata }), ...Object.fromEntries(entries) }
  const json = new TextEncoder().encode(JSON.stringify(header))
  const headerBytes = Math.ceil(json.length / 8) * 8
  const file = new Uint8Array(8 + headerBytes + end)
  new DataView(file.buffer).setBigUint64(0, BigInt(headerBytes), true)
  file.set(json, 8)
  file.fill(0x20, 8 + json.length, 8 + headerBytes)
  let place = 8 + headerBytes
  for (const { data } of Object.values(tensors)) {
    file.set(littleEndianBytes(data), place)
    place += data.byteLength
  }
  return file
}

function checkTensorToWrite(name: string, { data, shape }: Tensor<TensorData>): void {
  if (name === '__metadata__') throw new OptionError('safetensors: expected tensor names other than __metadata__')
  const elements = checkedProduct(shape, `safetensors: ${name}`)
  if (elements !== data.length)
    throw new OptionError(
      `safetensors: expected ${elements} elements in ${name} ${formatShape(shape)}, got ${data.length}`,
    )
}

function typeOf(data: TensorData): string {
  if (data instanceof Float32Array) return 'F32'
  if (data instanceof Int32Array) return 'I32'
  if (data instanceof Uint8Array) return 'U8'
  throw new OptionError(`safetensors: expected a Float32Array, Int32Array or Uint8Array, got ${describe(data)}`)
}

function littleEndianBytes(data: TensorData): Uint8Array {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  const isLittleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1
  if (isLittleEndian || data.BYTES_PER_ELEMENT === 1) return bytes
  const swapped = bytes.slice()
  for (let start = 0; start < swapped.length; start += 4) swapped.subarray(start, start + 4).reverse()
  return swapped
}
