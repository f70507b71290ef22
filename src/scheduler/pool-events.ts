import { checkFunction, checkOneOf } from '../core/check.ts'
import type { Fallback, LaneKind, Task } from '../protocol/messages.ts'

/** A lane, by its number in the report. Small calls run on a lane of the calling thread, which has a number 0 too. */
export interface EventLane {
  readonly lane: number
  readonly kind: LaneKind
  readonly thread: 'worker' | 'caller'
}

/** What a runtime tells of its lanes, by the name of the event. */
export interface RuntimeEvents {
  /** A lane started, could not start, was lost (its worker died or fell silent), or was stopped by `trim`, `close`. */
  readonly lane: EventLane & {
    /** what became of it */
    readonly state: 'ready' | 'failed' | 'lost' | 'stopped'
    /** why; undefined of one that is ready or was stopped */
    readonly reason?: string
  }
  /** Tasks go to another lane, because theirs was lost. */
  readonly retry: EventLane & {
    /** how many tasks go to another lane */
    readonly tasks: number
    /** why the lane was lost */
    readonly reason: string
  }
  /** Something runs in another way than asked for. */
  readonly fallback: Fallback
  /** A lane has worked on tasks of one message, of attention, of gradients or of layers. */
  readonly task: EventLane & {
    /** which kind of work: attention, its gradients, or stages of layers */
    readonly what: Task['kind']
    /** how many tasks the message had */
    readonly tasks: number
    /**
     * Times of `performance.now()` on the calling thread: when it heard of the end, and so long before as the lane
     * worked.
     */
    readonly startMs: number
    /** when the calling thread heard that they had ended */
    readonly endMs: number
  }
}

/** The names of a runtime's events. */
export type RuntimeEventName = keyof RuntimeEvents
type Listener = (event: never) => void

const NAMES: readonly RuntimeEventName[] = ['lane', 'retry', 'fallback', 'task']

/** Listeners of a runtime's lanes. An event is made only where somebody listens. */
export class PoolEvents {
  readonly #listeners = new Map<RuntimeEventName, Set<Listener>>()

  /** @returns what ends it @throws {OptionError} for another name, or no function */
  on<Name extends RuntimeEventName>(name: Name, listener: (event: RuntimeEvents[Name]) => void): () => void {
    checkOneOf('runtime.on: event', name, NAMES)
    checkFunction('runtime.on: listener', listener)
    const listeners = this.#listeners.get(name) ?? new Set()
    this.#listeners.set(name, listeners)
    const own = (event: RuntimeEvents[Name]): void => listener(event)
    listeners.add(own)
    return () => void listeners.delete(own)
  }

  /** What a listener throws is reported as uncaught, as of any event: the call goes on. */
  tell<Name extends RuntimeEventName>(name: Name, makeEvent: () => RuntimeEvents[Name]): void {
    const listeners = this.#listeners.get(name)
    if (listeners === undefined || listeners.size === 0) return
    const event = makeEvent()
    for (const listener of [...listeners] as ((event: RuntimeEvents[Name]) => void)[]) {
      try {
        listener(event)
      } catch (error) {
        queueMicrotask(() => {
          throw error
        })
      }
    }
  }
}
