import { FormatError, OptionError } from '../../core/errors.ts'
import { isSize } from '../../core/integers.ts'
import { describe } from '../../core/tensor.ts'

/** A file: whole, or as chunks that come. Chunks may say how many bytes they are together. */
export type ByteSource =
  | Uint8Array
  | ArrayBuffer
  | Blob
  | (AsyncIterable<Uint8Array> & {
      /** bytes in all, where that is known */
      readonly byteLength?: number
    })
  | ReadableStream<Uint8Array>

/** An allocation that a header claims is made in steps, so that a short file with a boastful header costs little. */
const FIRST_ALLOCATION_BYTES = 1 << 20

/** Takes bytes in order from a source. What it gives is a copy, or a view of the caller's array. */
export class ByteReader {
  readonly #next: () => Promise<Uint8Array | undefined>
  readonly #cancel: () => Promise<void>
  readonly #byteLength: number | null
  #chunk = new Uint8Array(0)
  #place = 0

  /** @throws {OptionError} when `source` is none of the kinds it may be */
  constructor(source: ByteSource) {
    const { next, cancel } = open(source)
    this.#next = next
    this.#cancel = cancel
    this.#byteLength = lengthOf(source)
  }

  /**
   * Compares what a header says of the whole file with the file, where its length is known before it is read.
   *
   * @throws {FormatError} when they differ
   */
  expectLength(bytes: number): void {
    if (this.#byteLength === null || this.#byteLength === bytes) return
    throw new FormatError(`safetensors: expected a file of ${bytes} bytes, as its header says, got ${this.#byteLength}`)
  }

  /** The next `count` bytes. @throws {FormatError} when the source ends before */
  async take(count: number, what: string): Promise<Uint8Array> {
    if (this.#chunk.length - this.#place >= count) return this.#slice(count)
    let bytes = new Uint8Array(Math.min(count, FIRST_ALLOCATION_BYTES))
    let filled = 0
    while (filled < count) {
      if (this.#place === this.#chunk.length && !(await this.#advance())) {
        throw new FormatError(`safetensors: expected ${count} bytes of ${what}, but the file ends after ${filled}`)
      }
      const part = this.#slice(Math.min(count - filled, this.#chunk.length - this.#place))
      if (filled + part.length > bytes.length)
        bytes = grown(bytes, Math.min(count, Math.max(2 * bytes.length, filled + part.length)))
      bytes.set(part, filled)
      filled += part.length
    }
    return bytes
  }

  /** @throws {FormatError} when there is more */
  async expectEnd(): Promise<void> {
    if (this.#place < this.#chunk.length || (await this.#advance())) {
      throw new FormatError('safetensors: expected the file to end with its last tensor, but it goes on')
    }
  }

  /** Lets go of a stream that was not read to its end. */
  close(): Promise<void> {
    return this.#cancel()
  }

  #slice(count: number): Uint8Array {
    const part = this.#chunk.subarray(this.#place, this.#place + count)
    this.#place += count
    return part
  }

  /** Moves on to the next chunk that is not empty. */
  async #advance(): Promise<boolean> {
    for (;;) {
      const chunk = await this.#next()
      if (chunk === undefined) return false
      if (!(chunk instanceof Uint8Array))
        throw new OptionError(`safetensors: expected chunks of bytes, got ${describe(chunk)}`)
      this.#chunk = chunk as Uint8Array<ArrayBuffer>
      this.#place = 0
      if (chunk.length > 0) return true
    }
  }
}

interface OpenSource {
  readonly next: () => Promise<Uint8Array | undefined>
  readonly cancel: () => Promise<void>
}

function open(source: ByteSource): OpenSource {
  if (source instanceof ArrayBuffer) return whole(new Uint8Array(source))
  if (source instanceof Uint8Array) return whole(source)
  if (typeof Blob !== 'undefined' && source instanceof Blob) return fromStream(source.stream())
  if (typeof source === 'object' && source !== null && 'getReader' in source) return fromStream(source)
  if (typeof source === 'object' && source !== null && Symbol.asyncIterator in source) return fromIterable(source)
  throw new OptionError(`safetensors: expected bytes, a Blob or a stream, got ${describe(source)}`)
}

/** In bytes; null where it is known only at the end. */
function lengthOf(source: ByteSource): number | null {
  if (typeof Blob !== 'undefined' && source instanceof Blob) return source.size
  return 'byteLength' in source && isSize(source.byteLength) ? source.byteLength : null
}

function whole(bytes: Uint8Array): OpenSource {
  let left: Uint8Array | undefined = bytes
  const next = (): Promise<Uint8Array | undefined> => {
    const chunk = left
    left = undefined
    return Promise.resolve(chunk)
  }
  return { next, cancel: () => Promise.resolve() }
}

function fromStream(stream: ReadableStream<Uint8Array>): OpenSource {
  if (stream.locked) throw new OptionError('safetensors: expected a stream that nobody reads yet, got a locked one')
  const reader = stream.getReader()
  return { next: async () => (await reader.read()).value, cancel: () => reader.cancel().catch(() => undefined) }
}

function fromIterable(iterable: AsyncIterable<Uint8Array>): OpenSource {
  const iterator = iterable[Symbol.asyncIterator]()
  const next = async (): Promise<Uint8Array | undefined> => {
    const step = await iterator.next()
    return step.done === true ? undefined : step.value
  }
  return { next, cancel: async () => void (await iterator.return?.()) }
}

function grown(bytes: Uint8Array<ArrayBuffer>, length: number): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(length)
  larger.set(bytes)
  return larger
}
