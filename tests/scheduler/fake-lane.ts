import type { LaneConfig, LaneHello, TaskRequest, TaskResponse } from '../../src/protocol/messages.ts'
import { PROTOCOL_VERSION } from '../../src/protocol/messages.ts'
import { LaneLost, type Lane } from '../../src/scheduler/lane.ts'

/** A lane without a thread: the test decides when each task ends, and when the lane dies. */
export class FakeLane implements Lane {
  readonly lost: Promise<Error>
  readonly requests: TaskRequest[] = []
  readonly cancelled: number[] = []
  readonly released: number[] = []
  alive = true
  keptAlive = true
  #markLost: (reason: Error) => void = () => undefined
  readonly #pending: { resolve: (response: TaskResponse) => void; reject: (error: unknown) => void }[] = []

  /** @param startError why it does not start; 'dies': it is lost before it answers; 'mute': it never answers */
  constructor(private readonly startError?: Error | 'dies' | 'mute') {
    this.lost = new Promise((resolve) => (this.#markLost = resolve))
  }

  start(_config: LaneConfig): Promise<LaneHello> {
    if (this.startError === 'dies') {
      const reason = new Error('killed while it started')
      this.die(reason)
      return Promise.reject(new LaneLost(reason))
    }
    if (this.startError === 'mute')
      return new Promise((_, reject) => void this.lost.then((reason) => reject(new LaneLost(reason))))
    if (this.startError !== undefined) return Promise.reject(this.startError)
    return Promise.resolve({ version: PROTOCOL_VERSION, kernels: 'fake', residentBytes: 100 })
  }

  run(request: TaskRequest): Promise<TaskResponse> {
    this.requests.push(request)
    return new Promise((resolve, reject) => this.#pending.push({ resolve, reject }))
  }

  get running(): number {
    return this.#pending.length
  }

  /** Ends the oldest pending task. */
  finish(): void {
    const result = { elapsedMs: 1, tiles: 1, skippedTiles: 0 }
    this.#pending.shift()?.resolve({
      results: [result],
      residentBytes: 100,
      keptBytes: 100,
      besideBytes: 0,
      stageBytes: 0,
      besideStageBytes: 0,
      fallbacks: [],
    })
  }

  fail(error: unknown): void {
    this.#pending.shift()?.reject(error)
  }

  die(reason = new Error('killed by the test')): void {
    this.alive = false
    this.#markLost(reason)
    for (const call of this.#pending.splice(0)) call.reject(new LaneLost(reason))
  }

  /** Whether it answers a sign of life. */
  answers = true
  pings = 0

  ping(): Promise<void> {
    this.pings++
    return this.answers ? Promise.resolve() : new Promise(() => undefined)
  }

  release(ids: readonly number[]): void {
    this.released.push(...ids)
  }

  cancel(jobId: number): void {
    this.cancelled.push(jobId)
  }

  keepAlive(alive: boolean): void {
    this.keptAlive = alive
  }

  stop(reason = new Error('stopped')): Promise<void> {
    if (this.alive) this.die(reason)
    return Promise.resolve()
  }
}
