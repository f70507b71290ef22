import type { Endpoint } from 'comlink'
import { BackendUnavailableError, OptionError } from '../core/errors.ts'
import { nodeModule } from '../core/node-module.ts'
import { describe } from '../core/tensor.ts'
import type { LaneKind } from '../protocol/messages.ts'
import { nodeEndpoint, type NodePort } from '../protocol/node-endpoint.ts'

/** A web Worker, or a Worker of node:worker_threads. */
export type AnyWorker = Worker | NodeWorker

/** The part of a Worker of node:worker_threads that a lane needs. */
export interface NodeWorker extends NodePort {
  /**
   * Listens to messages.
   *
   * @param type the event
   * @param listener called with the message's data
   */
  on(type: 'message', listener: (data: unknown) => void): unknown
  /**
   * Listens to errors: of the worker, or of a message that cannot be read.
   *
   * @param type the event
   * @param listener called with the error
   */
  on(type: 'error' | 'messageerror', listener: (error: Error) => void): unknown
  /**
   * Listens to the worker's exit.
   *
   * @param type the event
   * @param listener called with the exit code
   */
  on(type: 'exit', listener: (exitCode: number) => void): unknown
  /** Ends the worker. */
  terminate(): Promise<number>
  /** The process waits for the worker before it exits. */
  ref(): void
  /** The process exits without waiting for the worker. */
  unref(): void
}

/** How a lane gets its worker on hosts where the default does not find the file. */
export interface WorkerSource {
  /** what its lane runs: there is a smaller file for WASM alone. @default 'webgpu', whose file serves every lane */
  readonly kind?: LaneKind
  readonly workerFactory?: (() => AnyWorker) | undefined
}

/** A worker with the differences between hosts taken away. */
export interface WorkerHandle {
  readonly endpoint: Endpoint
  /** Calls back when the worker failed, exited, or sent what cannot be read: Comlink itself would never tell. */
  onLost(listener: (reason: Error) => void): void
  terminate(): Promise<void>
  /** Whether the worker keeps the process alive. */
  keepAlive(alive: boolean): void
}

/** Starts a worker. @throws {BackendUnavailableError} when the host has none, or refuses */
export function spawnWorker(source: WorkerSource): WorkerHandle {
  let worker: AnyWorker
  try {
    const { kind, workerFactory } = source
    worker = workerFactory?.() ?? (nodeThreads() === null ? webWorker(kind) : nodeWorker(workerFile(kind)))
  } catch (cause) {
    throw new BackendUnavailableError(`worker: expected to start one, but the host refused: ${messageOf(cause)}`, {
      cause,
    })
  }
  if (isNodeWorker(worker)) return nodeHandle(worker)
  if (typeof (worker as Worker | null)?.addEventListener === 'function') return webHandle(worker)
  throw new OptionError(`workerFactory: expected it to return a Worker, got ${describe(worker)}`)
}

type Threads = { Worker: new (url: URL | string, options?: object) => NodeWorker }

export function nodeThreads(): Threads | null {
  return (nodeModule('node:worker_threads') as Threads | undefined) ?? null
}

/** Where the file is looked for: literal, as bundlers recognise it. @throws {TypeError} outside modules */
export function workerFile(kind: LaneKind | undefined): URL {
  return kind === 'wasm' ? new URL('./wasm-worker.js', import.meta.url) : new URL('./worker.js', import.meta.url)
}

/**
 * Without the flags of this process: one such as `--input-type` is for its own main script and would stop the worker.
 */
export function nodeWorker(address: string | URL): NodeWorker {
  const { Worker } = nodeModule('node:worker_threads') as Threads
  return new Worker(address, { name: 'heddle lane', execArgv: [] })
}

function webWorker(kind: LaneKind | undefined): Worker {
  // Literal and inline: the form that bundlers recognise.
  if (kind === 'wasm')
    return new Worker(new URL('./wasm-worker.js', import.meta.url), { type: 'module', name: 'heddle lane' })
  return new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name: 'heddle lane' })
}

function isNodeWorker(worker: AnyWorker): worker is NodeWorker {
  return typeof (worker as NodeWorker | null)?.on === 'function'
}

function nodeHandle(worker: NodeWorker): WorkerHandle {
  return {
    endpoint: nodeEndpoint(worker),
    onLost: (listener) => {
      worker.on('error', (error) => listener(asError(error)))
      worker.on('messageerror', (error) => listener(asError(error)))
      worker.on('exit', (exitCode) => listener(new Error(`the worker exited with code ${exitCode}`)))
    },
    terminate: async () => {
      await worker.terminate()
    },
    keepAlive: (alive) => (alive ? worker.ref() : worker.unref()),
  }
}

function webHandle(worker: Worker): WorkerHandle {
  return {
    endpoint: worker,
    onLost: (listener) => {
      worker.addEventListener('error', (event) => {
        event.preventDefault()
        listener(new Error(event.message ? `the worker failed: ${event.message}` : 'the worker could not be loaded'))
      })
      worker.addEventListener('messageerror', () =>
        listener(new Error('the worker sent a message that cannot be read')),
      )
    },
    // Async, so that what a worker of a caller's own making throws rejects.
    // eslint-disable-next-line @typescript-eslint/require-await
    terminate: async () => worker.terminate(),
    keepAlive: () => undefined,
  }
}

function asError(value: unknown): Error {
  return value instanceof Error ? value : new Error(String(value))
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}
