import { throwIfAborted } from '../core/abort.ts'
import { SLICE_ELEMENTS } from '../core/element-blocks.ts'
import { takeTurn } from '../scheduler/pacer.ts'

/** A page that draws 60 frames per second has 16 ms for each. */
const TURN_EVERY_MS = 6

/** Long loops on the calling thread, in slices: between two of them the event loop gets its turn when it is due. */
export class PacedLoop {
  #dueMs = performance.now() + TURN_EVERY_MS

  /** @param signal heard in each turn */
  constructor(private readonly signal?: AbortSignal) {}

  /** Calls `work` with ranges [start, end) that cover [0, length) in order. Rejects with the signal's reason. */
  async run(length: number, work: (start: number, end: number) => void): Promise<void> {
    for (let start = 0; start < length; start += SLICE_ELEMENTS) {
      const turn = this.pace()
      if (turn !== undefined) await turn
      work(start, Math.min(length, start + SLICE_ELEMENTS))
    }
  }

  /** Undefined while no turn is due; else a promise of the next one. It rejects with the signal's reason. */
  pace(): Promise<void> | undefined {
    return performance.now() < this.#dueMs ? undefined : this.#turn()
  }

  async #turn(): Promise<void> {
    await takeTurn()
    throwIfAborted(this.signal)
    this.#dueMs = performance.now() + TURN_EVERY_MS
  }
}
