import { takeTurn } from '../scheduler/pacer.ts'
import { isSliced, SLICE_ELEMENTS } from './gradient-placement.ts'
import type { Strides } from './layout.ts'

/** Where dQ lies. */
export interface SlotTarget {
  readonly array: Float32Array
  readonly strides: Strides
  readonly rows: number
  readonly columns: number
}

/** A slot of dQ: [heads, M, D] over one key segment. */
interface Slot {
  readonly batch: number
  readonly firstHead: number
  readonly heads: number
  readonly segment: number
  readonly data: Float32Array
}

/** Adds the slots of each key head's segments, in key order whatever order they come in: the first one is copied. */
export class GradientSlots {
  readonly #waiting = new Map<string, Map<number, Slot>>()
  readonly #next = new Map<string, number>()
  #added: Promise<void> = Promise.resolve()
  #stopped = false

  /**
   * @param inSlices whether long slots are added with turns of the event loop between: then `settled` must be waited
   * for
   */
  constructor(
    private readonly target: SlotTarget,
    private readonly inSlices = true,
  ) {}

  take(slot: Slot): void {
    const key = `${slot.batch}:${slot.firstHead}`
    const waiting = this.#waiting.get(key) ?? new Map<number, Slot>()
    this.#waiting.set(key, waiting.set(slot.segment, slot))
    for (;;) {
      const next = this.#next.get(key) ?? 0
      const ready = waiting.get(next)
      if (ready === undefined) return
      waiting.delete(next)
      this.#next.set(key, next + 1)
      if (this.inSlices && isSliced(ready.data.length)) this.#added = this.#added.then(() => this.#addInSlices(ready))
      else this.#addRows(ready, 0, ready.heads * this.target.rows)
    }
  }

  /** Resolves when everything that came is added. */
  settled(): Promise<void> {
    return this.#added
  }

  /** The call failed: what is not added yet never will be. */
  stop(): void {
    this.#stopped = true
  }

  async #addInSlices(slot: Slot): Promise<void> {
    const rows = slot.heads * this.target.rows
    const step = Math.max(1, Math.floor(SLICE_ELEMENTS / this.target.columns))
    for (let row = 0; row < rows && !this.#stopped; row += step) {
      this.#addRows(slot, row, Math.min(rows, row + step))
      await takeTurn()
    }
  }

  /** Rows [from, to) of the slot, counted over its heads. */
  #addRows({ batch, firstHead, segment, data }: Slot, from: number, to: number): void {
    const { array, strides, rows, columns } = this.target
    for (let row = from; row < to; row++) {
      const at =
        batch * strides.batch + (firstHead + Math.floor(row / rows)) * strides.head + (row % rows) * strides.row
      const start = row * columns
      if (segment === 0) array.set(data.subarray(start, start + columns), at)
      else for (let c = 0; c < columns; c++) (array[at + c] as number) += data[start + c] as number
    }
  }
}
