import { isShared } from '../core/shared-memory.ts'
import type { Transport } from '../plan/transport.ts'
import type { KeySegment } from '../plan/key-segments.ts'
import type { ArrayId, Destination } from '../protocol/task.ts'
import type { Strides } from './layout.ts'

/** Whether lanes write key rows of results in place: they do where every input is shared, or where they are the calling thread. */
export function writesInPlace(transport: Transport, arrays: readonly Float32Array[]): boolean {
  return transport === 'local' || (transport === 'shared' && arrays.every((array) => isShared(array)))
}

/** A result with a row for each key of each task head: written in place, or put there when a task comes back. */
export class KeyRowResult {
  /** @param whole gives the array an id where lanes write in place; else null */
  constructor(
    readonly data: Float32Array,
    private readonly strides: Strides,
    private readonly columns: number,
    private readonly whole: ((array: Float32Array) => ArrayId) | null,
  ) {}

  destination(batch: number, head: number, { keyStart }: KeySegment): Destination {
    if (this.whole === null) return true
    return { array: this.whole(this.data), offset: this.#offset(batch, head, keyStart), rowStride: this.strides.row }
  }

  place(batch: number, head: number, { keyStart, keyEnd }: KeySegment, rows: Float32Array | undefined): void {
    if (rows === undefined) return
    const start = this.#offset(batch, head, keyStart)
    const { columns, strides } = this
    if (strides.row === columns) this.data.set(rows, start)
    else for (let r = 0; r < keyEnd - keyStart; r++) this.data.set(rows.subarray(r * columns, (r + 1) * columns), start + r * strides.row)
  }

  #offset(batch: number, head: number, key: number): number {
    return batch * this.strides.batch + head * this.strides.head + key * this.strides.row
  }
}
