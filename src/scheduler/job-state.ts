import type { Fallback } from '../protocol/messages.ts'
import type { LaneShare, Job, JobOutcome, JobTask } from './job.ts'

/** A task is given to a lane at most so often; then its job fails with a WorkerLostError. */
export const MAX_TRIES = 3

interface Share {
  tasks: number
  busyMs: number
  kind: LaneShare['kind']
  kernels: string
  residentBytes: number
}

/** The progress of one job through the pool: what waits, what runs, and the promise that the caller holds. */
export class JobState {
  readonly outcome: Promise<JobOutcome>
  readonly #fallbacks: Fallback[] = []
  readonly #waiting: JobTask[]
  readonly #tries = new Map<JobTask, number>()
  readonly #shares = new Map<number, Share>()
  #handedOut: number
  #underWay = 0
  #running = 0
  #unfinished: number
  #retries = 0
  #settled = false
  #resolve: (outcome: JobOutcome) => void = () => undefined
  #reject: (reason: unknown) => void = () => undefined

  constructor(
    readonly id: number,
    readonly job: Job,
    /** its place among others: what was done of the one that had least */
    handedOut = 0,
  ) {
    this.#handedOut = handedOut
    this.#waiting = [...job.tasks].sort((a, b) => b.cost - a.cost)
    this.#unfinished = this.#waiting.length
    this.outcome = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  get settled(): boolean {
    return this.#settled
  }

  get waiting(): number {
    return this.#settled ? 0 : this.#waiting.length
  }

  get running(): number {
    return this.#running
  }

  /** Flops handed out so far: jobs share the lanes by them. */
  get handedOut(): number {
    return this.#handedOut
  }

  /** Of these, the flops of tasks that have ended. */
  get done(): number {
    return this.#handedOut - this.#underWay
  }

  /** The most that a lane would do of the next task in one go. */
  get pieceCost(): number {
    const [next] = this.#waiting
    return next?.pieceCost ?? next?.cost ?? 0
  }

  /**
   * The next task for a lane that holds the arrays of `group`: one of that group where there is one; else one of the
   * group that most tasks wait in, so that lanes spread over the groups.
   */
  take(group: number | undefined): JobTask | undefined {
    if (this.#settled) return undefined
    const index = this.job.sharedMemory ? 0 : this.#indexFor(group)
    const [task] = this.#waiting.splice(index, 1)
    if (task === undefined) return undefined
    this.#begin(task)
    this.#handedOut += task.cost
    this.#tries.set(task, (this.#tries.get(task) ?? 0) + 1)
    return task
  }

  complete(task: JobTask, lane: number, share: Share): void {
    this.#end(task)
    const before = this.#shares.get(lane)
    this.#shares.set(lane, {
      ...share,
      tasks: share.tasks + (before?.tasks ?? 0),
      busyMs: share.busyMs + (before?.busyMs ?? 0),
    })
    this.#tries.delete(task)
    this.#unfinished--
    if (this.#unfinished === 0) this.finish()
  }

  /** The lane died under the task. Returns whether the task may be tried again. */
  giveBack(task: JobTask): boolean {
    this.#end(task)
    if (this.job.retries === false || (this.#tries.get(task) ?? 0) >= MAX_TRIES) return false
    this.#retries++
    this.#handedOut -= task.cost
    this.#waiting.unshift(task)
    return true
  }

  /** Told once, however many tasks it touched. Returns whether it is new. */
  noteFallback(fallback: Fallback): boolean {
    const isNew = !this.#fallbacks.some(({ what }) => what === fallback.what)
    if (isNew) this.#fallbacks.push(fallback)
    return isNew
  }

  /** A cancelled task came back. */
  drop(task: JobTask): void {
    this.#end(task)
  }

  #begin(task: JobTask): void {
    this.#running++
    this.#underWay += task.cost
  }

  #end(task: JobTask): void {
    this.#running--
    this.#underWay -= task.cost
  }

  finish(): void {
    if (this.#settled) return
    this.#settled = true
    const lanes = [...this.#shares].map(([lane, share]) => ({ lane, ...share })).sort((a, b) => a.lane - b.lane)
    this.#resolve({ lanes, retries: this.#retries, fallbacks: this.#fallbacks })
  }

  fail(reason: unknown): void {
    if (this.#settled) return
    this.#settled = true
    this.#reject(reason)
  }

  #indexFor(group: number | undefined): number {
    const same = this.#waiting.findIndex((task) => task.group === group)
    if (same >= 0) return same
    const counts = new Map<number, number>()
    for (const task of this.#waiting) counts.set(task.group, (counts.get(task.group) ?? 0) + 1)
    const largest = [...counts].reduce((best, entry) => (entry[1] > best[1] ? entry : best), [-1, -1])[0]
    return Math.max(
      0,
      this.#waiting.findIndex((task) => task.group === largest),
    )
  }
}
