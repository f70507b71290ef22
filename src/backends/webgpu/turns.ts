/** Lets one work at a time through, in the order of the calls: what two tasks encode must not mix. */
export class Turns {
  #tail: Promise<unknown> = Promise.resolve()

  exclusive<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#tail.then(work)
    this.#tail = run.catch(() => undefined)
    return run
  }
}
