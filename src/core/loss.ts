/**
 * The end of something that calls wait for: a worker, a device. A race against one promise that lives as long as the
 * thing would keep every call's outcome at that promise; here a call that is over leaves nothing behind.
 */
export class Loss<Reason extends Error> {
  readonly #waiting = new Set<(reason: Reason) => void>()
  #reason: Reason | null = null

  /** null while it has not happened */
  get reason(): Reason | null {
    return this.#reason
  }

  /** It has happened; a second time counts for nothing. */
  happen(reason: Reason): void {
    if (this.#reason !== null) return
    this.#reason = reason
    for (const reject of this.#waiting) reject(reason)
    this.#waiting.clear()
  }

  /** The call's outcome, or the reason of the loss if that comes first. */
  race<T>(call: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#reason !== null) reject(this.#reason)
      else this.#waiting.add(reject)
      call.then(resolve, reject).finally(() => this.#waiting.delete(reject))
    })
  }
}
