/** A lane works this long before it gives its event loop a turn: an abort or a new message waits no longer. */
const TURN_EVERY_MS = 15

/** The task was cancelled; its rejection is expected and goes nowhere. */
export class TaskCancelled extends Error {
  constructor() {
    super('the task was cancelled')
    this.name = 'TaskCancelled'
  }
}

/**
 * When this thread's event loop last went round, as far as is known: tasks that follow each other by promises alone
 * share it.
 */
let lastTurnMs = 0
let watched = false

function watchTurns(): void {
  if (watched) return
  watched = true
  lastTurnMs = performance.now()
  setTimeout(() => (watched = false), 0)
}

/** Decides when a long computation, of one task or of many in a row, must let its thread's other messages through. */
export class Pacer {
  readonly #isCancelled: () => boolean

  constructor(isCancelled: () => boolean) {
    this.#isCancelled = isCancelled
    watchTurns()
  }

  /**
   * Undefined while the turn is not due; else a promise of the next turn, which rejects when the task was cancelled.
   */
  pace(): Promise<void> | undefined {
    return performance.now() < lastTurnMs + TURN_EVERY_MS ? undefined : this.#turn()
  }

  async #turn(): Promise<void> {
    await takeTurn()
    if (this.#isCancelled()) throw new TaskCancelled()
  }
}

/** Gives this thread's event loop a turn. */
export async function takeTurn(): Promise<void> {
  await nextTurn()
  lastTurnMs = performance.now()
}

/** Resolves after the messages that wait now were delivered. Timers would do, but browsers clamp them to 4 ms. */
function nextTurn(): Promise<void> {
  if (typeof setImmediate === 'function') return new Promise((resolve) => setImmediate(resolve))
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel()
    port1.onmessage = () => {
      port1.close()
      resolve()
    }
    port2.postMessage(null)
  })
}
