import os from 'node:os'
import type { RuntimeOptions } from '../../attention/runtime-options.ts'
import { checkFunction, checkInteger, checkNames, expected } from '../../core/check.ts'
import { resolveQueueOptions, type QueueOptions, type ResolvedQueueOptions } from '../queue/fleet-options.ts'
import type { FleetStore } from '../store/fleet-store.ts'
import type { EmbedderLoader } from './embedder.ts'
import { loadHubModel } from './load-hub-model.ts'
import type { FleetEvent } from './fleet-log.ts'

export interface FleetWorkerOptions extends QueueOptions {
  /** The files that jobs may name. */
  readonly store: FleetStore
  /** Options of the host's runtime. Numerics are portable and lanes are wasm: so bits are the same on every host. */
  readonly runtime?: Omit<RuntimeOptions, 'numerics' | 'backend' | 'webgpu'>
  /** The folder in which the folders of models are; without it, embeddings fail. */
  readonly models?: string
  /** Makes an embedder of a model's folder. @default `loadModel` of `heddle/models` */
  readonly loadEmbedder?: EmbedderLoader
  /** How it calls itself in logs and statistics. @default the machine's name and the process's number */
  readonly name?: string
  /** Keys and values that it keeps in memory for later jobs. @default a quarter of the machine's memory */
  readonly heldBytes?: number
  /** A job whose host has not renewed its lock for so long goes to another host. @default 30,000 */
  readonly lockMs?: number
  /** Called with what happens to jobs and connections. */
  readonly onEvent?: (event: FleetEvent) => void
}

export interface ResolvedWorkerOptions extends ResolvedQueueOptions {
  readonly store: FleetStore
  readonly runtime: RuntimeOptions
  readonly models: string | undefined
  readonly loadEmbedder: EmbedderLoader
  readonly name: string
  readonly heldBytes: number
  readonly lockMs: number
  readonly onEvent: (event: FleetEvent) => void
}

const WHAT = 'startFleetWorker'
const NAMES: readonly (keyof FleetWorkerOptions)[] = [
  'connection',
  'queue',
  'connectTimeoutMs',
  'store',
  'runtime',
  'models',
  'loadEmbedder',
  'name',
  'heldBytes',
  'lockMs',
  'onEvent',
]

/** @throws {OptionError} for unknown names and wrong values */
export function resolveWorkerOptions(options: FleetWorkerOptions): ResolvedWorkerOptions {
  options = checkNames(`${WHAT}: options`, options, NAMES)
  const {
    store,
    runtime = {},
    models,
    loadEmbedder = loadHubModel,
    lockMs = 30_000,
    onEvent = () => undefined,
  } = options
  const { name = `${os.hostname()}-${process.pid}`, heldBytes = Math.floor(os.totalmem() / 4) } = options
  checkStore(`${WHAT}: option store`, store)
  if (models !== undefined && (typeof models !== 'string' || models === ''))
    throw expected(`${WHAT}: option models`, 'a path', models)
  checkFunction(`${WHAT}: option loadEmbedder`, loadEmbedder)
  if (typeof name !== 'string' || !/^[\w.-]{1,64}$/.test(name))
    throw expected(`${WHAT}: option name`, "up to 64 letters, digits, '.', '_' or '-'", name)
  checkInteger(`${WHAT}: option heldBytes`, heldBytes, 0)
  checkInteger(`${WHAT}: option lockMs`, lockMs, 500)
  checkFunction(`${WHAT}: option onEvent`, onEvent)
  return {
    ...resolveQueueOptions(WHAT, options),
    store,
    runtime: runtimeOf(runtime),
    models,
    loadEmbedder,
    name,
    heldBytes,
    lockMs,
    onEvent,
  }
}

/** The host's runtime options, with those that decide the bits. @throws {OptionError} when one of those is given */
function runtimeOf(runtime: RuntimeOptions): RuntimeOptions {
  for (const fixed of ['numerics', 'backend', 'webgpu']) {
    const value = (runtime as Record<string, unknown>)[fixed]
    if (value !== undefined)
      throw expected(
        `${WHAT}: option runtime.${fixed}`,
        'no value: hosts compute with portable numerics on wasm',
        value,
      )
  }
  return { ...runtime, backend: 'wasm', numerics: 'portable' }
}

/** @throws {OptionError} unless `store` has the calls of a store */
export function checkStore(what: string, store: unknown): asserts store is FleetStore {
  const calls: readonly (keyof FleetStore)[] = ['stat', 'read', 'write', 'remove']
  const candidate = (typeof store === 'object' && store !== null ? store : {}) as Partial<FleetStore>
  if (!calls.every((call) => typeof candidate[call] === 'function'))
    throw expected(what, 'a store, as folderStore and httpStore make it', store)
}
