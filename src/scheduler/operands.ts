import type { ArrayClass, ArraySource } from '../core/ledger.ts'
import { isShared } from '../core/shared-memory.ts'
import type { Transport } from '../plan/transport.ts'
import type { ArrayId, Slice, TaskArray } from '../protocol/task.ts'

/** Ids are never used twice in a process: a lane of any pool may hold arrays of several jobs. */
let nextArrayId = 1

/** The ids of arrays that lanes keep from call to call. */
const lastingIds = new WeakMap<TaskArray, { readonly id: ArrayId; readonly version: number }>()

/** A part of a tensor: `blocks` times `rows` × `columns` from `offset`; a stride of 0 repeats. */
interface Part {
  readonly array: TaskArray
  readonly offset: number
  /** 1 where absent, such as heads */
  readonly blocks?: number
  readonly blockStride?: number
  readonly rows: number
  readonly rowStride: number
  readonly columns: number
  readonly columnStride: number
}

/**
 * Turns parts of the caller's tensors into slices that lanes can read. Over shared memory every tensor is one array
 * (copied once if it is not shared yet); by transfer each part becomes a dense copy, made when a lane needs it.
 */
export class Operands {
  readonly #whole = new Map<string, ArrayId>()
  readonly #arrays = new Map<ArrayId, TaskArray>()
  readonly #parts = new Map<ArrayId, Part>()
  readonly #resident = new Set<ArrayId>()
  readonly #lasting = new Map<ArrayId, number>()
  readonly #cached = new Map<string, Slice & { readonly blockStride: number }>()

  constructor(
    private readonly transport: Transport,
    private readonly copies: SharedCopies,
  ) {}

  /**
   * @param key names a part that several tasks use, such as one head's keys; absent for a part of one task alone
   */
  slice(part: Part, key?: string): Slice & { readonly blockStride: number } {
    if (this.transport !== 'transfer') {
      const { offset, rowStride, columnStride, blockStride = 0 } = part
      return { array: this.whole(part.array), offset, rowStride, columnStride, blockStride }
    }
    const cached = key === undefined ? undefined : this.#cached.get(key)
    if (cached !== undefined) return cached
    const dense = densePart(part)
    const slice = {
      array: nextArrayId++,
      offset: 0,
      rowStride: part.rowStride === 0 ? 0 : dense.columns,
      columnStride: part.columnStride === 0 ? 0 : 1,
      blockStride: (part.blockStride ?? 0) === 0 ? 0 : dense.rows * dense.columns,
    }
    this.#parts.set(slice.array, dense)
    if (key !== undefined) {
      this.#cached.set(key, slice)
      this.#resident.add(slice.array)
    }
    return slice
  }

  /**
   * The whole of an array that lanes may keep after the call: its id is the same in every call. Of copies it is another
   * one when the version changes.
   */
  lasting(array: TaskArray, version: number): ArrayId {
    const copied = this.transport === 'transfer'
    if (!copied && !isShared(array)) return this.whole(array)
    const known = lastingIds.get(array)
    const id = known !== undefined && (!copied || known.version === version) ? known.id : nextArrayId++
    if (id !== known?.id) lastingIds.set(array, { id, version })
    if (copied)
      this.#parts.set(id, {
        array,
        offset: 0,
        rows: 1,
        rowStride: array.length,
        columns: array.length,
        columnStride: 1,
      })
    else this.#arrays.set(id, array)
    this.#lasting.set(id, array.byteLength)
    return id
  }

  /** Bytes of a lasting array; 0 of any other. */
  lastingBytes(id: ArrayId): number {
    return this.#lasting.get(id) ?? 0
  }

  /** What to attach to a lane under `id`. */
  provide(id: ArrayId): TaskArray {
    const array = this.#arrays.get(id)
    if (array !== undefined) return array
    const part = this.#parts.get(id)
    if (part === undefined) throw new Error(`operands: no array ${id}`)
    return copyPart(part)
  }

  /**
   * Bytes of the copy of a head's part that `provide` makes for one lane; 0 for what is shared or travels with one
   * task.
   */
  residentBytes(id: ArrayId): number {
    const part = this.#resident.has(id) ? this.#parts.get(id) : undefined
    return part === undefined ? 0 : (part.blocks ?? 1) * part.rows * part.columns * part.array.BYTES_PER_ELEMENT
  }

  /** An id for an array that a lane makes itself. */
  fresh(): ArrayId {
    return nextArrayId++
  }

  /** An array that lanes see as a whole, to read it or to write into it; by transfer a copy, to read it. */
  whole(array: TaskArray): ArrayId {
    if (this.transport === 'transfer') {
      const part = { array, offset: 0, rows: 1, rowStride: array.length, columns: array.length, columnStride: 1 }
      return this.slice(part, memoryKey(array)).array
    }
    // The same memory given twice, as in self-attention, is one array.
    const key = memoryKey(array)
    const known = this.#whole.get(key)
    if (known !== undefined) return known
    const id = nextArrayId++
    this.#whole.set(key, id)
    this.#arrays.set(id, this.transport === 'local' ? array : this.copies.of(array))
    return id
  }
}

/** Copies of plain arrays in shared memory, each made once. */
export class SharedCopies {
  readonly #copies = new Map<string, TaskArray>()

  constructor(private readonly memory: ArraySource) {}

  /** The array itself where it is shared. */
  of(array: TaskArray): TaskArray {
    if (isShared(array)) return array
    const key = memoryKey(array)
    const known = this.#copies.get(key)
    if (known !== undefined) return known
    const copy = this.memory.array('input copies', array.constructor as ArrayClass<TaskArray>, array.length, true)
    copy.set(array)
    this.#copies.set(key, copy)
    return copy
  }
}

/** Names elements of memory: two arrays with the same key are one. */
export function memoryKey(array: TaskArray): string {
  return `${bufferId(array.buffer)}:${array.byteOffset}:${array.length}:${array.constructor.name}`
}

const bufferIds = new WeakMap<ArrayBufferLike, number>()
let nextBufferId = 1

function bufferId(buffer: ArrayBufferLike): number {
  const id = bufferIds.get(buffer) ?? nextBufferId++
  bufferIds.set(buffer, id)
  return id
}

/** Whether two arrays are the same elements of the same memory. */
export function sameMemory(a: TaskArray, b: TaskArray): boolean {
  return (
    a.buffer === b.buffer && a.byteOffset === b.byteOffset && a.length === b.length && a.constructor === b.constructor
  )
}

/** Whether two arrays have any byte in common. */
export function overlaps(a: ArrayBufferView, b: ArrayBufferView): boolean {
  return (
    a.buffer === b.buffer && a.byteOffset < b.byteOffset + b.byteLength && b.byteOffset < a.byteOffset + a.byteLength
  )
}

/** A part without its repetitions. */
function densePart(part: Part): Part & { readonly blocks: number } {
  const once = (stride: number | undefined, count: number): number => (stride === 0 ? Math.min(1, count) : count)
  const { blocks = 1, blockStride = 0 } = part
  return {
    ...part,
    blocks: once(blockStride, blocks),
    rows: once(part.rowStride, part.rows),
    columns: once(part.columnStride, part.columns),
  }
}

function copyPart({
  array,
  offset,
  blocks = 1,
  blockStride = 0,
  rows,
  rowStride,
  columns,
  columnStride,
}: Part): TaskArray {
  if (blocks === 1 && columnStride <= 1 && (rowStride === columns || rows <= 1))
    return array.slice(offset, offset + rows * columns)
  const Class = array.constructor as new (length: number) => TaskArray
  const copy = new Class(blocks * rows * columns)
  for (let line = 0; line < blocks * rows; line++) {
    const start = offset + Math.floor(line / rows) * blockStride + (line % rows) * rowStride
    if (columnStride <= 1) copy.set(array.subarray(start, start + columns), line * columns)
    else
      for (let column = 0; column < columns; column++)
        copy[line * columns + column] = array[start + column * columnStride] ?? 0
  }
  return copy
}
