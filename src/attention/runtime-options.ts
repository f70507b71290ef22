import { loadKernels } from '../backends/wasm/binaries.ts'
import { variantFor, type KernelVariant } from '../backends/wasm/probe.ts'
import { checkFunction, checkInteger, checkNames, checkOneOf, expected } from '../core/check.ts'
import { BackendUnavailableError } from '../core/errors.ts'
import type { Fallback, LaneConfig, LaneKind, WebGpuConfig } from '../protocol/messages.ts'
import { LocalLane } from '../scheduler/local-lane.ts'
import type { PoolConfig } from '../scheduler/pool.ts'
import type { AnyWorker } from '../scheduler/spawn-worker.ts'
import { WorkerLane } from '../scheduler/worker-lane.ts'
import { hostFallbacks, type Capabilities } from './capabilities.ts'

/** A kernel binary, compiled or not. */
export type KernelBinary = WebAssembly.Module | ArrayBuffer | Uint8Array

/** What `createRuntime` takes. */
export interface RuntimeOptions {
  /** Workers, 1 to 256; `auto` is one per logical processor; 0 computes on the calling thread. @default 'auto' */
  readonly workers?: 'auto' | number
  /** What lanes run; a record sets the number of each kind. @default 'auto' */
  readonly backend?:
    | 'auto'
    | LaneKind
    | {
        /** Lanes that run WebAssembly. @default 0 */
        readonly wasm?: number
        /** Lanes that run WebGPU. @default 0 */
        readonly webgpu?: number
      }
  /** `portable` uses plain SIMD only: the same bits on every machine. @default 'fast' */
  readonly numerics?: 'fast' | 'portable'
  /**
   * For everything beyond the caller's inputs and the output. @default the machine's memory, where the host tells it
   */
  readonly memoryBudgetBytes?: number
  /** `never` transfers copies between threads even where memory can be shared. @default 'auto' */
  readonly sharedMemory?: 'auto' | 'never'
  /** Makes a lane's worker, for hosts and bundlers that cannot find `heddle/worker`. */
  readonly workerFactory?: () => AnyWorker
  /** Where the worker file is served. */
  readonly workerUrl?: string | URL
  /** How GPU lanes compute. */
  readonly webgpu?: WebGpuConfig
  /** Kernels of attention in place of those that the package carries. */
  readonly wasm?: {
    /** Kernels that use 128-bit SIMD alone. */
    readonly simd?: KernelBinary
    /** Kernels that use relaxed SIMD too. */
    readonly relaxed?: KernelBinary
  }
}

/** The options after all checks. */
export interface ResolvedRuntimeOptions {
  readonly pool: PoolConfig
  /** false: one lane, on the calling thread */
  readonly onWorkers: boolean
  /** a lane on the calling thread */
  readonly onCaller: PoolConfig
  /** the same, for calls too small for a message; null where the user asked for GPU lanes */
  readonly caller: PoolConfig | null
  /** whether the calling thread may do the work where no worker starts: the user named no number of them */
  readonly mayGoWithoutWorkers: boolean
  /** whether the user said where workers come from */
  readonly ownWorkers: boolean
  /** what runs otherwise than it was asked for, for every report */
  readonly fallbacks: readonly Fallback[]
  readonly numerics: 'fast' | 'portable'
  readonly memoryBudgetBytes: number | undefined
  readonly sharedMemory: boolean
}

const NAMES: readonly (keyof RuntimeOptions)[] = [
  'workers',
  'backend',
  'numerics',
  'memoryBudgetBytes',
  'sharedMemory',
  'workerFactory',
  'workerUrl',
  'wasm',
  'webgpu',
]
const MAX_WORKERS = 256

/**
 * @param autoKinds lanes that `auto` was found to do best with, where it was measured; else wasm on every worker
 * @throws {OptionError} for unknown names and wrong values; {BackendUnavailableError} when a kernel binary does not
 *   compile
 */
export async function resolveRuntimeOptions(
  options: RuntimeOptions,
  capabilities: Capabilities,
  autoKinds?: readonly LaneKind[],
): Promise<ResolvedRuntimeOptions> {
  checkSimpleOptions(options)
  const { workers = 'auto', numerics = 'fast', sharedMemory = 'auto' } = options
  const { memoryBudgetBytes, workerFactory, workerUrl } = options
  const count = workerCount(workers, capabilities)
  const kinds = laneKinds(count, options, autoKinds ?? [])
  const webgpu = checkWebGpu(options.webgpu)
  const wasm = await kernelsOf(options, numerics, capabilities, kinds)
  const makeWorker = workerFactory ?? (await factoryFor(workerUrl))
  const config = (kind: LaneKind): LaneConfig =>
    kind === 'webgpu' ? { kind, numerics, wasm, webgpu } : { kind, numerics, wasm }
  const onCaller: PoolConfig = {
    lanes: [config(options.backend === 'webgpu' ? 'webgpu' : 'wasm')],
    makeLane: () => new LocalLane(),
  }
  return {
    pool: kinds.length === 0 ? onCaller : workerPool(kinds.map(config), makeWorker, variantFor(numerics, capabilities)),
    onWorkers: kinds.length > 0,
    onCaller,
    mayGoWithoutWorkers:
      workers === 'auto' && (options.backend ?? 'auto') !== 'webgpu' && typeof options.backend !== 'object',
    ownWorkers: workerFactory !== undefined || workerUrl !== undefined,
    fallbacks: hostFallbacks(capabilities, {
      numerics,
      sharedMemory: sharedMemory === 'auto',
      workers: workers === 'auto',
    }),
    caller: kinds.length > 0 && kinds.every((kind) => kind === 'wasm') ? onCaller : null,
    numerics,
    memoryBudgetBytes,
    sharedMemory: sharedMemory === 'auto' && capabilities.threads,
  }
}

/** A pool of workers. Those of wasm lanes bring no kernels: their configuration, and later the pool, sends them. */
function workerPool(
  lanes: readonly LaneConfig[],
  workerFactory: (() => AnyWorker) | undefined,
  variant: KernelVariant,
): PoolConfig {
  return {
    lanes,
    makeLane: ({ kind }) => new WorkerLane({ workerFactory, kind }),
    laterKernels: (name) => loadKernels(name, variant),
  }
}

/** Those that are what they should be whatever the others are. */
function checkSimpleOptions(options: RuntimeOptions): void {
  const { numerics = 'fast', sharedMemory = 'auto', memoryBudgetBytes, workerFactory, workerUrl } = options
  checkOneOf('createRuntime: option numerics', numerics, ['fast', 'portable'])
  checkOneOf('createRuntime: option sharedMemory', sharedMemory, ['auto', 'never'])
  if (memoryBudgetBytes !== undefined && memoryBudgetBytes !== Infinity)
    checkInteger('createRuntime: option memoryBudgetBytes', memoryBudgetBytes, 0)
  if (workerFactory !== undefined) checkFunction('createRuntime: option workerFactory', workerFactory)
  if (workerUrl !== undefined && typeof workerUrl !== 'string' && !(workerUrl instanceof URL))
    throw expected('createRuntime: option workerUrl', 'a string or URL', workerUrl)
}

/** What makes workers of the user's own file is loaded only for those who have one. */
async function factoryFor(workerUrl: string | URL | undefined): Promise<(() => AnyWorker) | undefined> {
  if (workerUrl === undefined) return undefined
  const { workerAt } = await import('../scheduler/worker-at.ts')
  return () => workerAt(workerUrl)
}

function checkWebGpu(webgpu: WebGpuConfig = {}): WebGpuConfig {
  webgpu = checkNames('createRuntime: option webgpu', webgpu, ['storage', 'tile'])
  checkOneOf('createRuntime: option webgpu.storage', webgpu.storage ?? 'float32', ['float32', 'float16'])
  checkOneOf('createRuntime: option webgpu.tile', webgpu.tile ?? 'auto', [
    'auto',
    'base',
    'wide',
    'subgroups',
    'wide-subgroups',
  ])
  return webgpu
}

function laneKinds(
  count: number,
  { workers, backend = 'auto' }: RuntimeOptions,
  autoKinds: readonly LaneKind[],
): LaneKind[] {
  if (typeof backend === 'object' && (backend as unknown) !== null) {
    backend = checkNames('createRuntime: option backend', backend, ['wasm', 'webgpu'])
    const { wasm = 0, webgpu = 0 } = backend
    checkInteger('createRuntime: option backend.wasm', wasm, 0, MAX_WORKERS)
    checkInteger('createRuntime: option backend.webgpu', webgpu, 0, MAX_WORKERS)
    if (wasm + webgpu < 1 || wasm + webgpu > MAX_WORKERS)
      throw expected('createRuntime: option backend', `1 to ${MAX_WORKERS} lanes in all`, wasm + webgpu)
    if (typeof workers === 'number' && workers !== wasm + webgpu)
      throw expected(
        'createRuntime: option workers',
        `${wasm + webgpu}, the lanes of option backend, or no value`,
        workers,
      )
    return [...new Array<LaneKind>(wasm).fill('wasm'), ...new Array<LaneKind>(webgpu).fill('webgpu')]
  }
  checkOneOf('createRuntime: option backend', backend, ['auto', 'wasm', 'webgpu'])
  // One GPU is one lane, unless more were asked for.
  if (backend === 'webgpu') return new Array<LaneKind>(typeof workers === 'number' ? count : 1).fill('webgpu')
  return backend === 'auto' && typeof workers !== 'number' && autoKinds.length > 0
    ? [...autoKinds]
    : new Array<LaneKind>(count).fill('wasm')
}

/** The options, each read once. @throws {OptionError} for unknown names */
export function checkRuntimeNames(options: RuntimeOptions): RuntimeOptions {
  return checkNames('createRuntime: options', options, NAMES)
}

/** Whether a GPU was asked for by name. */
export function asksForGpu({ backend }: RuntimeOptions): boolean {
  return (
    backend === 'webgpu' || (typeof backend === 'object' && (backend as unknown) !== null && (backend.webgpu ?? 0) > 0)
  )
}

function workerCount(workers: unknown, capabilities: Capabilities): number {
  if (workers === 'auto') return capabilities.workers ? Math.min(capabilities.cores, MAX_WORKERS) : 0
  if (typeof workers !== 'number')
    throw expected('createRuntime: option workers', `"auto" or an integer from 0 to ${MAX_WORKERS}`, workers)
  checkInteger('createRuntime: option workers', workers, 0, MAX_WORKERS)
  return workers
}

/** Workers of wasm lanes bring no kernels: they get the user's, or the package's. */
async function kernelsOf(
  { wasm }: RuntimeOptions,
  numerics: 'fast' | 'portable',
  capabilities: Capabilities,
  kinds: readonly LaneKind[],
): Promise<LaneConfig['wasm']> {
  const given = wasm === undefined ? null : await compileKernels(wasm)
  const variant = variantFor(numerics, capabilities)
  if (!capabilities.simd || !kinds.includes('wasm') || given?.[variant] !== undefined) return given
  return { ...given, [variant]: await loadKernels('attention', variant) }
}

async function compileKernels(wasm: NonNullable<RuntimeOptions['wasm']>): Promise<NonNullable<LaneConfig['wasm']>> {
  wasm = checkNames('createRuntime: option wasm', wasm, ['simd', 'relaxed'])
  const entries = await Promise.all(
    Object.entries(wasm).map(async ([name, binary]) => [name, await compileKernel(name, binary)] as const),
  )
  return Object.fromEntries(entries)
}

async function compileKernel(name: string, binary: unknown): Promise<WebAssembly.Module> {
  if (binary instanceof WebAssembly.Module) return binary
  if (!(binary instanceof ArrayBuffer) && !(binary instanceof Uint8Array)) {
    throw expected(`createRuntime: option wasm.${name}`, 'a WebAssembly.Module, an ArrayBuffer or a Uint8Array', binary)
  }
  try {
    return await WebAssembly.compile(binary as BufferSource)
  } catch (cause) {
    throw new BackendUnavailableError(
      `createRuntime: expected option wasm.${name} to be a kernel binary that this engine compiles`,
      { cause },
    )
  }
}
