import type { AttentionOptions } from './attention-options.ts'

/** At most 20 calls a second. */
const MIN_INTERVAL_MS = 50

/** Turns finished tasks into `onProgress` calls, with an estimate from the work that is left. */
export class ProgressMeter {
  readonly #startMs = performance.now()
  #lastMs = -Infinity
  #done = 0
  #doneCost = 0

  constructor(
    private readonly total: number,
    private readonly totalCost: number,
    private readonly report: AttentionOptions['onProgress'],
  ) {}

  step(tasks: number, cost: number): void {
    this.#done += tasks
    this.#doneCost += cost
    if (this.report === undefined) return
    const now = performance.now()
    if (this.#done < this.total && now - this.#lastMs < MIN_INTERVAL_MS) return
    this.#lastMs = now
    const elapsedMs = now - this.#startMs
    const share = this.totalCost > 0 ? this.#doneCost / this.totalCost : this.#done / this.total
    const remainingMs = this.#done === this.total || share <= 0 ? 0 : elapsedMs * (1 / share - 1)
    this.report({ done: this.#done, total: this.total, elapsedMs, remainingMs })
  }
}
