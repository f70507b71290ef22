import type { KeySegment } from '../plan/key-segments.ts'
import type { ArrayId, Destination } from '../protocol/task.ts'
import type { Strides } from './layout.ts'

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
    else
      for (let r = 0; r < keyEnd - keyStart; r++)
        this.data.set(rows.subarray(r * columns, (r + 1) * columns), start + r * strides.row)
  }

  #offset(batch: number, head: number, key: number): number {
    return batch * this.strides.batch + head * this.strides.head + key * this.strides.row
  }
}
