import { FormatError, OptionError, ProtocolError, ShapeError, StoreError } from '../../core/errors.ts'
import { checkNames, expected } from '../../core/check.ts'
import { describe, formatShape, type Tensor } from '../../core/tensor.ts'
import { decodeElements } from '../../nn/state/safetensors-elements.ts'
import { ELEMENT_BYTES, parseHeader, readHeaderLength, type TensorEntry } from '../../nn/state/safetensors-header.ts'
import { checkStorePath, type FleetStore } from './fleet-store.ts'

/** A tensor in a safetensors file of the store. */
export interface StoredTensor {
  /** the file's path in the store */
  readonly file: string
  /** the tensor's name in the file */
  readonly name: string
}

/** A stored tensor as jobs name it: with the tag of the file that the asking side saw. */
export interface TensorReference extends StoredTensor {
  readonly tag: string
}

/** A tensor whose header has been read, and whose rows can be. */
export interface OpenTensor {
  readonly reference: TensorReference
  readonly shape: readonly number[]
  readonly entry: TensorEntry
  /** where the file's data begins, in bytes */
  readonly dataStart: number
}

/** Rows [start, end) of the second to last axis. */
export interface RowRange {
  /** the first row */
  readonly start: number
  /** one past the last row */
  readonly end: number
}

const FLOATS: readonly TensorEntry['type'][] = ['F32', 'F16', 'BF16', 'F64']

/** @throws {OptionError} unless `value` names a tensor of a file */
export function checkStoredTensor(what: string, value: unknown): asserts value is StoredTensor {
  checkNames(what, value, ['file', 'name', 'tag'])
  const { file, name } = value as Partial<StoredTensor>
  checkStorePath(`${what}.file`, file)
  if (typeof name !== 'string' || name === '') throw expected(`${what}.name`, "a tensor's name", name)
}

/** The reference of a tensor with the file's present tag. @throws {StoreError} where there is no such file */
export async function referTo(store: FleetStore, { file, name }: StoredTensor): Promise<TensorReference> {
  const found = await store.stat(file)
  if (found === undefined)
    throw new StoreError(`store: expected a file ${file}, but there is none`, { details: { path: file } })
  return { file, name, tag: found.tag }
}

/**
 * Reads a file's header and finds the tensor.
 *
 * @throws {ProtocolError} when the file is another one than the asking side saw
 * @throws {OptionError} when the file has no such tensor; {FormatError} when it is malformed or holds integers
 */
export async function openTensor(
  store: FleetStore,
  reference: TensorReference,
  signal?: AbortSignal,
): Promise<OpenTensor> {
  const { file, name, tag } = reference
  const found = await referTo(store, reference)
  if (found.tag !== tag)
    throw new ProtocolError(
      `store: expected ${file} with tag ${tag}, got ${found.tag}: the file has changed since the call was made`,
    )
  const headerBytes = readHeaderLength(await store.read(file, 0, 8, signal))
  const { entries } = parseHeader(await store.read(file, 8, 8 + headerBytes, signal))
  const entry = entries.find((candidate) => candidate.name === name)
  if (entry === undefined) {
    const names = entries
      .slice(0, 8)
      .map((candidate) => candidate.name)
      .join(', ')
    throw new OptionError(
      `store: expected a tensor ${describe(name)} in ${file}, which has ${names}${entries.length > 8 ? ', …' : ''}`,
    )
  }
  if (!FLOATS.includes(entry.type))
    throw new FormatError(`store: expected floats in ${name} of ${file}, got ${entry.type}`)
  return { reference, shape: entry.shape, entry, dataStart: 8 + headerBytes }
}

/**
 * Rows [start, end) of a tensor [..., N, D], as float32.
 *
 * @returns [..., end − start, D] in shared memory, the caller's
 * @throws {ShapeError} when the range is outside the tensor; {StoreError} when it cannot be read
 */
export async function readRows(
  store: FleetStore,
  tensor: OpenTensor,
  { start, end }: RowRange,
  signal?: AbortSignal,
): Promise<Tensor> {
  const { shape, entry, reference } = tensor
  const [rows = 0, width = 0] = shape.slice(-2)
  if (shape.length < 2 || start < 0 || end > rows || start > end) {
    throw new ShapeError(
      `store: expected rows within ${reference.name} ${formatShape(shape)} of ${reference.file}, got ${start} to ${end}`,
    )
  }
  const leading = shape.slice(0, -2)
  const blocks = leading.reduce((product, size) => product * size, 1)
  const rowBytes = width * ELEMENT_BYTES[entry.type]
  const elements = (end - start) * width
  const data = new Float32Array(new SharedArrayBuffer(blocks * elements * Float32Array.BYTES_PER_ELEMENT))
  for (let block = 0; block < blocks; block++) {
    const from = tensor.dataStart + entry.start + (block * rows + start) * rowBytes
    const bytes = await store.read(reference.file, from, from + (end - start) * rowBytes, signal)
    data.set(decodeElements({ ...entry, elements }, bytes).data, block * elements)
  }
  return { data, shape: [...leading, end - start, width] }
}
