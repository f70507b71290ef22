import { isShared } from '../core/shared-memory.ts'
import { CHUNK_DONE, CHUNK_FREE } from '../protocol/chunk.ts'
import { partCount } from '../protocol/pass-parts.ts'
import {
  passSteps,
  workOf,
  type PassStep,
  type PassWork,
  type StagePass,
  type StagePassResult,
} from '../protocol/stage-pass.ts'

/** A lane that waits for others gives its event loop a turn so often. */
const LONGEST_WAIT_MS = 2

/** What a pass asks of the lane that it runs on. Both reject when the pass was cancelled. */
export interface PassHost {
  /** When the lane has time for it, asks which task is next, and runs it; null when there is none. */
  run(next: () => PassWork | null): Promise<{ readonly elapsedMs: number } | null>
  takeTurn(): Promise<void>
}

/** One lane's share of a pass. */
export class PassRun {
  /** chunks that this run claimed: the same share may have claimed others on a lane that died */
  readonly #mine = new Set<number>()
  readonly #partMs: number[]

  constructor(
    private readonly pass: StagePass,
    private readonly host: PassHost,
  ) {
    this.#partMs = new Array<number>(partCount(pass.stages)).fill(0)
  }

  async run(): Promise<StagePassResult> {
    let first = 0
    for (const step of passSteps(this.pass.stages)) {
      do await this.#work(step, first)
      while (!(await this.#othersDone(first, step.chunks)))
      first += step.chunks
    }
    return { tasks: this.#mine.size, elapsedMs: this.#partMs.reduce((sum, ms) => sum + ms, 0), partMs: this.#partMs }
  }

  /**
   * Claims chunks of a step and runs them until none is free: each when the lane turns to it, so that none waits
   * claimed.
   */
  async #work(step: PassStep, first: number): Promise<void> {
    const { claims } = this.pass
    for (let tried = 0; tried < step.chunks;) {
      let place = 0
      const result = await this.host.run(() => {
        while (tried < step.chunks) {
          place = tried++
          if (this.#claim(first + place)) return workOf(step, place)
        }
        return null
      })
      if (result === null) return
      this.#partMs[step.part] = (this.#partMs[step.part] ?? 0) + result.elapsedMs
      Atomics.store(claims, first + place, CHUNK_DONE)
      Atomics.notify(claims, first + place)
    }
  }

  #claim(index: number): boolean {
    const { claims, share } = this.pass
    if (!this.#isOpen(Atomics.load(claims, index), index)) return false
    const before = Atomics.compareExchange(claims, index, CHUNK_FREE, share)
    if (!this.#isOpen(before, index)) return false
    this.#mine.add(index)
    return true
  }

  /** Free, or claimed by an earlier run of this share, whose lane was lost. */
  #isOpen(claim: number, index: number): boolean {
    return claim === CHUNK_FREE || (claim === this.pass.share && !this.#mine.has(index))
  }

  /** Waits until all chunks of a stage are done; false when one of them is open again, because its lane was lost. */
  async #othersDone(first: number, count: number): Promise<boolean> {
    const { claims } = this.pass
    for (let index = first; index < first + count;) {
      const claim = Atomics.load(claims, index)
      if (claim === CHUNK_DONE) index++
      else if (this.#isOpen(claim, index)) return false
      else if (!isShared(claims) || Atomics.wait(claims, index, claim, LONGEST_WAIT_MS) === 'timed-out')
        await this.host.takeTurn()
    }
    return true
  }
}
