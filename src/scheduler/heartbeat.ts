import type { JobState } from './job-state.ts'
import type { JobTask } from './job.ts'
import type { Lane } from './lane.ts'

/** Calls `beat` again and again until the function that it returns is called. */
export type Heartbeat = (beat: () => void) => () => void

/** How often lanes that have work are asked for a sign of life. */
const BEAT_MS = 1_000

/** A lane that left so many in a row unanswered is lost. */
const MOST_MISSED = 8

export const everySecond: Heartbeat = (beat) => {
  const timer: { unref?: () => void } | number = setInterval(beat, BEAT_MS)
  // In Node a lane with work keeps the process alive by itself.
  if (typeof timer === 'object') timer.unref?.()
  return () => clearInterval(timer as Parameters<typeof clearInterval>[0])
}

/**
 * Whether one lane that has work still answers. No event tells of a worker that was terminated from outside, closed
 * itself or hangs. What counts is beats that this thread itself was awake for, not time: a suspended machine, a
 * throttled tab or a page that is busy for a minute misses them together with the lane. A lane at work takes a turn of
 * its event loop every few milliseconds, in which it answers.
 */
export class Pulse {
  #missed = 0
  #isAsked = false
  /** tasks whose job is over, and the beats since */
  readonly #cancelled = new Map<JobTask, number>()

  constructor(private readonly lane: Lane) {}

  /** Whether a task that was cancelled a beat ago is still there: the lane gets nothing more meanwhile. */
  isOverdue(inFlight: ReadonlyMap<JobTask, JobState>): boolean {
    return [...this.#cancelled].some(([task, beats]) => beats > 1 && inFlight.has(task))
  }

  /** A beat: asks the lane for a sign of life. Returns why the lane counts as lost, or null. */
  beat(inFlight: ReadonlyMap<JobTask, JobState>): Error | null {
    for (const task of this.#cancelled.keys()) if (!inFlight.has(task)) this.#cancelled.delete(task)
    for (const [task, state] of inFlight)
      if (state.settled) this.#cancelled.set(task, (this.#cancelled.get(task) ?? 0) + 1)
    if ([...this.#cancelled.values()].some((beats) => beats > MOST_MISSED))
      return new Error(`the worker did not acknowledge a cancel within ${MOST_MISSED} s`)
    if (inFlight.size === 0) return null
    if (this.#isAsked && ++this.#missed >= MOST_MISSED)
      return new Error(`the worker gave no sign of life for ${MOST_MISSED} s`)
    if (!this.#isAsked) this.#ask()
    return null
  }

  /** The lane answered something. */
  heard(): void {
    this.#missed = 0
  }

  #ask(): void {
    this.#isAsked = true
    const answered = (): void => {
      this.#isAsked = false
      this.heard()
    }
    this.lane.ping().then(answered, () => undefined)
  }
}
