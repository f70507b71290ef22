import type { AttentionOptions } from './attention-options.ts'

/** At most 20 calls per second. */
const MIN_INTERVAL_MS = 50
/** While tasks run and none ends, time goes on all the same. */
const TICK_MS = 250

/** What there is to do. */
export interface ProgressWork {
  readonly tasks: number
  readonly cost: number
  /** that may work at once */
  readonly lanes: number
}

/**
 * Turns finished tasks into `onProgress` calls. Of the work that is left it takes off what lanes at work have done by
 * now, at the speed of the tasks that are done: else the first task of four lanes would count as a quarter of the work
 * of its time.
 */
export class ProgressMeter {
  #startMs = 0
  #lastMs = 0
  #done = 0
  #doneCost = 0
  #busyMs = 0
  #sentCost = 0
  #failure: { readonly error: unknown } | null = null

  constructor(
    private readonly work: ProgressWork,
    private readonly report: AttentionOptions['onProgress'],
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** Runs the work, with a call at its start and one now and then while no task ends. @throws what `run` throws */
  async follow<T>(run: () => Promise<T>): Promise<T> {
    if (this.report === undefined) return run()
    await Promise.resolve() // the caller has its promise before its function is called
    this.#startMs = this.now()
    this.#call()
    const timer = setInterval(() => this.#tick(), TICK_MS)
    try {
      return await run()
    } finally {
      clearInterval(timer)
    }
  }

  /** Work of this cost left for a lane; negative when it came back undone. */
  sent(cost: number): void {
    this.#sentCost += cost
  }

  /** @throws what the caller's function threw, now or at a tick before */
  step(tasks: number, cost: number, busyMs: number): void {
    this.#done += tasks
    this.#doneCost += cost
    this.#busyMs += busyMs
    if (this.#failure !== null) throw this.#failure.error
    if (this.report === undefined) return
    if (this.#done < this.work.tasks && this.now() - this.#lastMs < MIN_INTERVAL_MS) return
    this.#call()
  }

  #tick(): void {
    if (this.#failure !== null || this.now() - this.#lastMs < TICK_MS) return
    try {
      this.#call()
    } catch (error) {
      // Nobody would catch it here: the next task that ends passes it on.
      this.#failure = { error }
    }
  }

  #call(): void {
    this.#lastMs = this.now()
    const elapsedMs = this.#lastMs - this.#startMs
    const { tasks: total } = this.work
    this.report?.({ done: this.#done, total, elapsedMs, remainingMs: this.#remainingMs(elapsedMs) })
  }

  #remainingMs(elapsedMs: number): number {
    if (this.#done >= this.work.tasks) return 0
    if (this.#done === 0) return NaN
    if (this.#doneCost === 0 || this.#busyMs === 0) return elapsedMs * (this.work.tasks / this.#done - 1)
    const costPerMs = this.#doneCost / this.#busyMs
    const byNow = Math.min(costPerMs * elapsedMs * this.work.lanes, this.#sentCost)
    return elapsedMs * Math.max(0, this.work.cost / Math.max(this.#doneCost, byNow) - 1)
  }
}
