import { Worker } from 'node:worker_threads'
import { createRuntime, type Runtime, type RuntimeOptions } from 'heddle'
import { afterAll, beforeAll } from 'vitest'

/** A runtime that opens before the tests of this file (or describe block) and closes after them. */
export function useRuntime(options: RuntimeOptions): () => Runtime {
  let runtime: Runtime | undefined
  beforeAll(async () => {
    runtime = await createRuntime(options)
  })
  afterAll(() => runtime?.close())
  return () => {
    if (runtime === undefined) throw new Error('useRuntime: expected to be called inside a test')
    return runtime
  }
}

/** Runs `body` with a runtime that is closed afterwards, whatever happens. */
export async function withRuntime<T>(options: RuntimeOptions, body: (runtime: Runtime) => Promise<T>): Promise<T> {
  const runtime = await createRuntime(options)
  try {
    return await body(runtime)
  } finally {
    await runtime.close()
  }
}

/** Settles when every lane has joined: a runtime is ready when its first one is. */
export async function allLanes(runtime: Runtime): Promise<void> {
  while (runtime.lanes.some(({ kernels }) => kernels === null)) await new Promise((resolve) => setImmediate(resolve))
}

/** Settles when each lane has done a task, and so holds its memory: one lane may do all of a short call. */
export async function everyLaneWorks(runtime: Runtime, call: () => Promise<unknown>): Promise<void> {
  await allLanes(runtime)
  const seen = new Set<number>()
  const stop = runtime.on('task', ({ lane }) => seen.add(lane))
  while (seen.size < runtime.lanes.length) await call()
  stop()
}

/** Lets the event loop go round: what was asked for before is sent and begun, whatever the time that takes. */
export async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}

/** How often the event loop goes round until a promise settles: a measure of where a call is, without a clock. */
export async function turnsUntil(promise: Promise<unknown>): Promise<number> {
  let [count, settled] = [0, false]
  const end = (): void => void (settled = true)
  promise.then(end, end)
  for (; !settled; count++) await turns(1)
  return count
}

/** Where the shipped worker lies. */
export const workerFile = new URL(import.meta.resolve('heddle/worker'))

/** Real workers that a test can count, kill and watch. */
export class WorkerCrew {
  readonly workers: Worker[] = []
  readonly #exits: Promise<void>[] = []

  /** For the option of this name. */
  readonly workerFactory = (): Worker => this.add(new Worker(workerFile))

  add(worker: Worker): Worker {
    this.workers.push(worker)
    this.#exits.push(new Promise((resolve) => worker.once('exit', () => resolve())))
    return worker
  }

  get alive(): Worker[] {
    return this.workers.filter((worker) => worker.threadId !== -1)
  }

  /** Settles when every worker that was ever made has exited. */
  async allExited(): Promise<void> {
    await Promise.all(this.#exits)
  }
}
