import { Worker } from 'node:worker_threads'
import { createRuntime, type Runtime, type RuntimeOptions } from 'heddle'

export const workerFile = new URL(import.meta.resolve('heddle/worker'))

/** Real workers that can be counted, killed and watched. */
export class Crew {
  readonly workers: Worker[] = []
  readonly #exits: Promise<void>[] = []

  /** @param make how each is made; what it throws is what a host throws that refuses */
  constructor(private readonly make: (made: number) => Worker = () => new Worker(workerFile)) {}

  readonly workerFactory = (): Worker => {
    const worker = this.make(this.workers.length)
    this.workers.push(worker)
    this.#exits.push(new Promise((resolve) => worker.once('exit', () => resolve())))
    return worker
  }

  get alive(): readonly Worker[] {
    return this.workers.filter(({ threadId }) => threadId !== -1)
  }

  /** Runs `body` on a runtime of this crew, closes it, and waits until every worker has exited. */
  async withRuntime<T>(options: RuntimeOptions, body: (runtime: Runtime) => Promise<T>): Promise<T> {
    const runtime = await createRuntime({ ...options, workerFactory: this.workerFactory })
    try {
      return await body(runtime)
    } finally {
      await runtime.close()
      await Promise.all(this.#exits)
    }
  }
}

/** A worker that runs this code beside its own, such as one that ends it. */
export function workerWith(code: string): Worker {
  return new Worker(
    new URL(`data:text/javascript,${encodeURIComponent(`import ${JSON.stringify(workerFile.href)}\n${code}`)}`),
  )
}

/** Lets `change` see every message of a worker before the pool does; undefined: the pool never gets it. */
export function throughRelay(worker: Worker, change: (data: unknown) => unknown): Worker {
  const on = worker.on.bind(worker) as (type: string, listener: (data: unknown) => void) => Worker
  const relay = (type: string, listener: (data: unknown) => void): Worker => {
    if (type !== 'message') return on(type, listener)
    return on(type, (data) => {
      const changed = change(data)
      if (changed !== undefined) listener(changed)
    })
  }
  return Object.assign(worker, { on: relay })
}
