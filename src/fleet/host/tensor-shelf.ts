import type { Tensor } from '../../core/tensor.ts'
import type { FleetStore } from '../store/fleet-store.ts'
import {
  openTensor,
  readRows,
  referTo,
  type OpenTensor,
  type RowRange,
  type TensorReference,
} from '../store/stored-tensor.ts'

/** Headers that are remembered; each is a few hundred bytes. */
const MAX_HEADERS = 256

/**
 * What a host has read of stored tensors: headers, and the ranges of keys and values that were used last, within a
 * budget. Both are kept under the file's tag, so that a changed file is never served from here.
 */
export class TensorShelf {
  readonly #store: FleetStore
  readonly #budgetBytes: number
  readonly #headers = new Map<string, OpenTensor>()
  /** the least recently used first */
  readonly #ranges = new Map<string, Tensor>()
  #bytes = 0

  constructor(store: FleetStore, budgetBytes: number) {
    this.#store = store
    this.#budgetBytes = budgetBytes
  }

  get heldBytes(): number {
    return this.#bytes
  }

  /** The tensor, after a look at the file's tag. @throws as {@link openTensor} */
  async open(reference: TensorReference, signal: AbortSignal): Promise<OpenTensor> {
    const key = headerKey(reference)
    const known = this.#headers.get(key)
    if (known !== undefined && (await referTo(this.#store, reference)).tag === reference.tag) return known
    const opened = await openTensor(this.#store, reference, signal)
    if (this.#headers.size >= MAX_HEADERS) this.#headers.clear()
    this.#headers.set(key, opened)
    return opened
  }

  /** Whether rows of a tensor are here. */
  holds({ reference }: OpenTensor, range: RowRange): boolean {
    return this.#ranges.has(rangeKey(reference, range))
  }

  /** Rows of a tensor: from here, or read and kept. @returns not the caller's to change */
  async rows(tensor: OpenTensor, range: RowRange, signal: AbortSignal): Promise<Tensor> {
    const key = rangeKey(tensor.reference, range)
    const held = this.#ranges.get(key) ?? (await readRows(this.#store, tensor, range, signal))
    const isNew = !this.#ranges.delete(key)
    this.#ranges.set(key, held)
    if (isNew) this.#bytes += held.data.byteLength
    this.#trim()
    return held
  }

  #trim(): void {
    for (const [key, { data }] of this.#ranges) {
      if (this.#bytes <= this.#budgetBytes) return
      this.#ranges.delete(key)
      this.#bytes -= data.byteLength
    }
  }
}

function headerKey({ file, tag, name }: TensorReference): string {
  return JSON.stringify([file, tag, name])
}

function rangeKey(reference: TensorReference, { start, end }: RowRange): string {
  return `${headerKey(reference)} ${start} ${end}`
}
