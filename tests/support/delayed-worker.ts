import { Worker } from 'node:worker_threads'
import type { Random } from './random.ts'
import { workerFile } from './runtimes.ts'

type Listener = (data: unknown) => void

/** A real worker whose messages reach the pool late: a slow core, or a busy one. Their own order is kept. */
class DelayedWorker {
  readonly #worker = new Worker(workerFile)
  readonly #wrapped = new Map<Listener, Listener>()

  constructor(private readonly delayMs: () => number) {}

  on(type: string, listener: Listener): this {
    if (type !== 'message') {
      this.#worker.on(type, listener)
      return this
    }
    let last = Promise.resolve()
    const late: Listener = (data) => {
      const wait = new Promise<void>((resolve) => setTimeout(resolve, this.delayMs()))
      last = last.then(() => wait).then(() => listener(data))
    }
    this.#wrapped.set(listener, late)
    this.#worker.on('message', late)
    return this
  }

  off(_type: 'message', listener: Listener): this {
    this.#worker.off('message', this.#wrapped.get(listener) ?? listener)
    return this
  }

  postMessage(message: unknown, transfer: readonly never[] = []): void {
    this.#worker.postMessage(message, transfer)
  }

  terminate(): Promise<number> {
    return this.#worker.terminate()
  }

  ref(): void {
    this.#worker.ref()
  }

  unref(): void {
    this.#worker.unref()
  }
}

/** Makes workers of different speed: the n-th answers up to 2·n ms late. */
export class DelayedCrew {
  #made = 0

  constructor(private readonly random: Random) {}

  readonly workerFactory = (): DelayedWorker => {
    const most = 2 * this.#made++
    return new DelayedWorker(() => this.random.uniform() * most)
  }
}
