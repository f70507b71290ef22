import { FormatError } from '../../core/errors.ts'
import { isSize } from '../../core/integers.ts'
import { describe } from '../../core/tensor.ts'
import { nameGivenTwice } from './distinct-names.ts'

/** A longer header is refused: no model needs it, and it is parsed before anything else is known. */
export const MAX_HEADER_BYTES = 100_000_000

/** Element types of a file, with their sizes. */
export const ELEMENT_BYTES = { F64: 8, F32: 4, F16: 2, BF16: 2, I64: 8, I32: 4, U8: 1, BOOL: 1 } as const

export type ElementType = keyof typeof ELEMENT_BYTES

/** One tensor of a file: bytes [start, end) of what follows the header. */
export interface TensorEntry {
  readonly name: string
  readonly type: ElementType
  readonly shape: readonly number[]
  readonly elements: number
  readonly start: number
  readonly end: number
}

export interface SafetensorsHeader {
  /** by `start`, without gaps and without overlap */
  readonly entries: readonly TensorEntry[]
  readonly metadata: Readonly<Record<string, string>>
}

/** The header's length out of a file's first eight bytes. @throws {FormatError} when it is past 100 MB or of no use */
export function readHeaderLength(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const length = view.getUint32(0, true)
  if (view.getUint32(4, true) !== 0 || length > MAX_HEADER_BYTES) {
    throw new FormatError(
      `safetensors: expected a header of at most ${MAX_HEADER_BYTES} bytes, got ${view.getBigUint64(0, true)}`,
    )
  }
  if (length < 2) throw new FormatError(`safetensors: expected a header of at least 2 bytes, got ${length}`)
  return length
}

/**
 * Reads and checks the header: names that differ, types, shapes with checked products, ranges in order without gap or
 * overlap.
 *
 * @throws {FormatError} for anything else
 */
export function parseHeader(bytes: Uint8Array): SafetensorsHeader {
  const parsed = parseJson(bytes)
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw new FormatError(`safetensors: expected the header to be a JSON object, got ${describe(parsed)}`)
  }
  const { __metadata__: metadata, ...tensors } = parsed as Record<string, unknown>
  const entries = Object.entries(tensors).map(([name, entry]) => readEntry(name, entry))
  entries.sort((a, b) => a.start - b.start || a.end - b.end)
  let end = 0
  for (const entry of entries) {
    if (entry.start !== end) {
      throw new FormatError(
        `safetensors: expected tensors without gap or overlap; ${entry.name} should start at byte ${end}, got ${entry.start}`,
      )
    }
    end = entry.end
  }
  return { entries, metadata: readMetadata(metadata) }
}

function parseJson(bytes: Uint8Array): unknown {
  if (bytes[0] !== 0x7b) throw new FormatError('safetensors: expected the header to start with "{"')
  const { text, parsed } = readJson(bytes)
  const twice = nameGivenTwice(text)
  if (twice !== undefined)
    throw new FormatError(`safetensors: expected each name once, got ${JSON.stringify(twice.slice(0, 80))} twice`)
  return parsed
}

function readJson(bytes: Uint8Array): { readonly text: string; readonly parsed: unknown } {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    return { text, parsed: JSON.parse(text) as unknown }
  } catch (cause) {
    throw new FormatError('safetensors: expected the header to be JSON in UTF-8', { cause })
  }
}

function readMetadata(metadata: unknown): Readonly<Record<string, string>> {
  if (metadata === undefined) return {}
  const isText = (value: unknown): value is string => typeof value === 'string'
  if (
    typeof metadata !== 'object' ||
    metadata === null ||
    Array.isArray(metadata) ||
    !Object.values(metadata).every(isText)
  ) {
    throw new FormatError('safetensors: expected __metadata__ to be an object of strings')
  }
  return metadata as Record<string, string>
}

function readEntry(name: string, entry: unknown): TensorEntry {
  const fail = (expectation: string, got: unknown): never => {
    throw new FormatError(
      `safetensors: expected ${JSON.stringify(name.slice(0, 80))} to have ${expectation}, got ${describe(got)}`,
    )
  }
  if (typeof entry !== 'object' || entry === null) return fail('an entry that is an object', entry)
  const { dtype, shape, data_offsets: offsets } = entry as Record<string, unknown>
  if (typeof dtype !== 'string' || !Object.hasOwn(ELEMENT_BYTES, dtype))
    return fail(`a dtype among ${Object.keys(ELEMENT_BYTES).join(', ')}`, dtype)
  const type = dtype as ElementType
  if (!Array.isArray(shape) || !shape.every(isSize)) return fail('a shape of integers ≥ 0', shape)
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize))
    return fail('data_offsets of two integers ≥ 0', offsets)
  const [start, end] = offsets as [number, number]
  const elements = product(shape)
  const bytes = elements * ELEMENT_BYTES[type]
  if (!Number.isSafeInteger(bytes)) return fail('a product of sizes below 2^53', shape)
  if (end - start !== bytes) return fail(`${bytes} bytes for its shape [${shape.join(', ')}] of ${type}`, end - start)
  return { name, type, shape, elements, start, end }
}

/** NaN or past 2⁵³ where the exact product is. */
function product(shape: readonly number[]): number {
  if (shape.includes(0)) return 0
  let product = 1
  for (const size of shape) {
    product *= size
    if (!Number.isSafeInteger(product)) return NaN
  }
  return product
}
