import type { Backend } from '../backends/backend.ts'

/** A backend, and the work that waits for it. */
export class Bench {
  /** the ends of the lines, one for each task that the backend takes at once; work goes to them in turn */
  readonly #tails: Promise<unknown>[]
  #begun = 0

  constructor(readonly backend: Backend) {
    this.#tails = Array.from({ length: backend.overlap ?? 1 }, () => Promise.resolve())
  }

  /** Runs work when its turn has come. */
  inLine<T>(work: () => T | Promise<T>): Promise<T> {
    const line = this.#begun++ % this.#tails.length
    const run = (this.#tails[line] ?? Promise.resolve()).then(work)
    this.#tails[line] = run.catch(() => undefined)
    return run
  }
}
