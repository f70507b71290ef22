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
  on(type: 'message', listener: (data: unknown) => void): unknown
  on(type: 'error' | 'messageerror', listener: (error: Error) => void): unknown
  on(type: 'exit', listener: (exitCode: number) => void): unknown
  terminate(): Promise<number>
  ref(): void
  unref(): void
}

/** How a lane gets its worker on hosts where the default does not find the file. */
export interface WorkerSource {
  /** what its lane runs: there is a smaller file for WASM alone. @default 'webgpu', whose file serves every lane */
  readonly kind?: LaneKind
  readonly workerFactory?: (() => AnyWorker) | undefined
  readonly workerUrl?: string | URL | undefined
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
    worker = source.workerFactory?.() ?? (nodeThreads() === null ? webWorker(source) : nodeWorker(source))
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

function nodeThreads(): Threads | null {
  return (nodeModule('node:worker_threads') as Threads | undefined) ?? null
}

/**
 * Without the flags of this process: one such as `--input-type` is for its own main script and would stop the worker.
 */
function nodeWorker({ kind, workerUrl: url }: WorkerSource): NodeWorker {
  const threads = nodeThreads()
  if (threads === null) throw new Error('node:worker_threads is missing')
  const base = import.meta.url // not inline: this is no asset for a web bundler
  return new threads.Worker(
    url === undefined ? new URL(kind === 'wasm' ? './wasm-worker.js' : './worker.js', base) : asFileUrl(url),
    { name: 'heddle lane', execArgv: [] },
  )
}

/** Node wants a URL object for `file:` and `data:` addresses; a plain string is a path. */
function asFileUrl(url: string | URL): string | URL {
  return typeof url === 'string' && /^(file|data):/.test(url) ? new URL(url) : url
}

function webWorker({ kind, workerUrl }: WorkerSource): Worker {
  if (typeof Worker === 'undefined') throw new Error('this host has neither Worker nor node:worker_threads')
  if (workerUrl !== undefined) return moduleWorker(new URL(workerUrl, location.href))
  try {
    // Literal and inline: the form that bundlers recognise.
    if (kind === 'wasm')
      return new Worker(new URL('./wasm-worker.js', import.meta.url), { type: 'module', name: 'heddle lane' })
    return new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name: 'heddle lane' })
  } catch (error) {
    const address = new URL(kind === 'wasm' ? './wasm-worker.js' : './worker.js', import.meta.url.toString())
    if (address.origin === location.origin) throw error
    return moduleWorker(address)
  }
}

/** A module worker; from another origin (a CDN) by way of a Blob that imports it, which a page's policy may forbid. */
function moduleWorker(address: URL): Worker {
  const options: WorkerOptions = { type: 'module', name: 'heddle lane' }
  if (address.origin === location.origin || address.protocol === 'blob:' || address.protocol === 'data:')
    return new Worker(address, options)
  const blob = URL.createObjectURL(new Blob([`import ${JSON.stringify(address.href)}`], { type: 'text/javascript' }))
  try {
    return new Worker(blob, options)
  } finally {
    // The worker has its own reference once its script is fetched; a minute is plenty for that.
    setTimeout(() => URL.revokeObjectURL(blob), 60_000)
  }
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
