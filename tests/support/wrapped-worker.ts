import { Worker } from 'node:worker_threads'
import type { Random } from './random.ts'
import { workerFile } from './runtimes.ts'

type Listener = (data: unknown) => void

/** A real worker, whose messages to the pool pass through `relay` first. */
export class WrappedWorker {
  readonly #worker = new Worker(workerFile)
  readonly #wrapped = new Map<Listener, Listener>()

  constructor(private readonly relay: (data: unknown, deliver: Listener) => void) {}

  on(type: string, listener: (data: never) => void): this {
    const listen = listener as Listener
    const wrapped: Listener = type === 'message' ? (data) => this.relay(data, listen) : listen
    this.#wrapped.set(listen, wrapped)
    this.#worker.on(type, wrapped)
    return this
  }

  off(type: 'message', listener: Listener): this {
    this.#worker.off(type, this.#wrapped.get(listener) ?? listener)
    return this
  }

  postMessage(message: unknown, transfer?: readonly never[]): void {
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

/** Makes workers of different speed: the n-th answers up to 2·n ms late, in its own order. */
export function delayedWorkers(random: Random): () => WrappedWorker {
  let made = 0
  return () => {
    const mostMs = 2 * made++
    let last = Promise.resolve()
    return new WrappedWorker((data, deliver) => {
      const wait = new Promise<void>((resolve) => setTimeout(resolve, random.uniform() * mostMs))
      last = last.then(() => wait).then(() => deliver(data))
    })
  }
}
