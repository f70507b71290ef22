import { BackendUnavailableError, MemoryBudgetError } from '../../core/errors.ts'
import { Loss } from '../../core/loss.ts'
import { gpuBufferBytes, type GpuFacts } from '../../plan/gpu-memory.ts'
import { USAGE } from './constants.ts'
import type { Kernel } from './kernels/kernel.ts'
import { hostGpu } from './node-gpu.ts'
import {
  adapterName,
  describeAdapter,
  isFallback,
  limitsOf,
  requestAdapter,
  WANTED_LIMITS,
  type GpuLimits,
  type WebGpuInfo,
} from './probe.ts'
import { DeviceLost } from './signals.ts'

/** A rejected map and the promise of the loss that caused it settle within this of each other. */
const LOSS_SETTLES_MS = 100

export interface GpuDeviceOptions {
  /** what tests use to make the device smaller than its adapter; values below the adapter's are kept to */
  readonly limits?: Partial<GpuLimits>
}

/** In the order in which they are pushed: the last is popped first. */
const SCOPES = ['validation', 'internal', 'out-of-memory'] as const

/** A device with the limits it gave, its pipelines by compile key, its buffers counted, its loss watched. */
export class GpuDevice {
  readonly device: GPUDevice
  readonly limits: GpuLimits
  readonly info: WebGpuInfo
  /** as the adapter gave it; undefined for a device that somebody else opened */
  readonly adapterInfo: GPUAdapterInfo | undefined
  readonly fallback: boolean
  /** invocations that are in one subgroup at the least; 0 where the device has no subgroups */
  readonly smallestSubgroup: number
  readonly #pipelines = new Map<string, Promise<GPUComputePipeline>>()
  readonly #pipelinesNow = new Map<string, GPUComputePipeline>()
  readonly #buffers = new Map<GPUBuffer, number>()
  readonly #loss = new Loss<DeviceLost>()
  #residentBytes = 0
  #peakBytes = 0

  private constructor(device: GPUDevice, limits: GpuLimits, adapter: GPUAdapter | null) {
    this.device = device
    this.limits = limits
    this.adapterInfo = adapter?.info
    this.info =
      adapter === null
        ? { vendor: '', architecture: '', device: '', description: '', features: [] }
        : describeAdapter(adapter)
    this.fallback = adapter !== null && isFallback(adapter)
    this.smallestSubgroup = device.features.has('subgroups')
      ? ((adapter?.info as { subgroupMinSize?: number } | undefined)?.subgroupMinSize ?? 0)
      : 0
    void device.lost.then((info) => this.#loss.happen(new DeviceLost(info.message || String(info.reason))))
  }

  /** @throws {BackendUnavailableError} without an adapter, or when it refuses a device */
  static async open(gpu: GPU | undefined, options: GpuDeviceOptions = {}): Promise<GpuDevice> {
    const host = gpu === undefined ? hostGpu() : { gpu }
    if (host.gpu === undefined)
      throw new BackendUnavailableError(`backend "webgpu": expected a host with WebGPU, but ${host.reason}`)
    try {
      const adapter = await requestAdapter(host.gpu)
      if (adapter === null)
        throw new BackendUnavailableError('backend "webgpu": expected a GPU adapter, but the host offers none')
      const offered = limitsOf(adapter.limits)
      const entries = WANTED_LIMITS.map(
        (name) => [name, Math.min(offered[name], options.limits?.[name] ?? Infinity)] as const,
      )
      const limits = Object.fromEntries(entries) as Record<(typeof WANTED_LIMITS)[number], number>
      const requiredFeatures = adapter.features.has('subgroups') ? (['subgroups'] as const) : []
      const device = await adapter.requestDevice({
        label: 'heddle',
        requiredLimits: { ...offered },
        requiredFeatures: [...requiredFeatures],
      })
      return new GpuDevice(device, limits, adapter)
    } catch (cause) {
      if (cause instanceof BackendUnavailableError) throw cause
      throw new BackendUnavailableError(
        `backend "webgpu": expected the adapter to give a device, but ${messageOf(cause)}`,
        { cause },
      )
    }
  }

  /** A device that somebody else opened and will close. */
  static adopt(device: GPUDevice): GpuDevice {
    return new GpuDevice(device, limitsOf(device.limits), null)
  }

  get name(): string {
    return adapterName(this.info)
  }

  get lost(): DeviceLost | null {
    return this.#loss.reason
  }

  get residentBytes(): number {
    return this.#residentBytes
  }

  /** The most bytes held at once since the last call of this. */
  takePeakBytes(): number {
    const peak = this.#peakBytes
    this.#peakBytes = this.#residentBytes
    return peak
  }

  get facts(): Omit<GpuFacts, 'half'> {
    return {
      largestBufferBytes: this.largestBufferBytes,
      workgroupsPerDimension: this.limits.maxComputeWorkgroupsPerDimension,
      software: this.fallback,
    }
  }

  /** The largest buffer that can be bound whole. */
  get largestBufferBytes(): number {
    return Math.floor(Math.min(this.limits.maxBufferSize, this.limits.maxStorageBufferBindingSize) / 16) * 16
  }

  /** A storage buffer of at least 16 bytes that `fill` writes while it is mapped; what it leaves out is zero. */
  upload(
    label: string,
    byteLength: number,
    fill: (mapped: ArrayBuffer) => void,
    usage: number = USAGE.storage,
  ): GPUBuffer {
    const buffer = this.#create(label, byteLength, usage, true)
    try {
      fill(buffer.getMappedRange())
      buffer.unmap()
    } catch (error) {
      this.free(buffer)
      throw error
    }
    return buffer
  }

  storage(label: string, byteLength: number): GPUBuffer {
    return this.#create(label, byteLength, USAGE.storage | USAGE.copySource | USAGE.copyDestination, false)
  }

  staging(label: string, byteLength: number): GPUBuffer {
    return this.#create(label, byteLength, USAGE.mapRead | USAGE.copyDestination, false)
  }

  /** Work that was submitted with the buffer still completes. */
  free(...buffers: readonly GPUBuffer[]): void {
    for (const buffer of buffers) {
      this.#residentBytes -= this.#buffers.get(buffer) ?? 0
      this.#buffers.delete(buffer)
      buffer.destroy()
    }
  }

  /** The kernel's pipeline, compiled once a device. @throws {BackendUnavailableError} when the device refuses it */
  pipeline(kernel: Kernel): Promise<GPUComputePipeline> {
    const cached = this.#pipelines.get(kernel.key)
    if (cached !== undefined) return cached
    const compiled = this.#compile(kernel)
    this.#pipelines.set(kernel.key, compiled)
    compiled.catch(() => this.#pipelines.delete(kernel.key))
    return compiled
  }

  /** The same at once, for callers that cannot wait; errors go to the device's own error handler. */
  pipelineNow({ key, label, source }: Kernel): GPUComputePipeline {
    const known = this.#pipelinesNow.get(key)
    if (known !== undefined) return known
    const module = this.device.createShaderModule({ label, code: source })
    const pipeline = this.device.createComputePipeline({
      label,
      layout: 'auto',
      compute: { module, entryPoint: 'main' },
    })
    this.#pipelinesNow.set(key, pipeline)
    return pipeline
  }

  /** `work`'s result once the device has confirmed it: no error in any scope, not lost. */
  async guarded<T>(what: string, work: () => Promise<T>): Promise<T> {
    return await (
      await this.scoped(what, work)
    ).confirmed
  }

  /**
   * Runs `work` in error scopes of its own. Scopes nest, so two works must not overlap; what waits for `confirmed`,
   * which is the result of `guarded`, may.
   */
  async scoped<T>(what: string, work: () => Promise<T>): Promise<{ readonly confirmed: Promise<T> }> {
    this.#throwIfLost()
    for (const scope of SCOPES) this.device.pushErrorScope(scope)
    const [result] = await Promise.allSettled([work()])
    const scopes = this.race(Promise.all(SCOPES.map(() => this.device.popErrorScope())))
    const confirmed = scopes.then(([memory, ...others]) => {
      this.#throwIfLost()
      if (memory) throw outOfMemory(what, undefined, memory)
      const error = others.find((found) => found !== null)
      if (error) throw deviceError(what, error)
      if (result.status === 'rejected') throw result.reason as Error
      return result.value
    })
    confirmed.catch(() => undefined)
    return { confirmed }
  }

  /** Rejects with DeviceLost as soon as the device is lost: a lost device may leave other promises pending. */
  race<T>(promise: Promise<T>): Promise<T> {
    return this.#loss.race(promise)
  }

  /** Waits a moment for a loss that failed calls have announced. */
  async settleLoss(): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined
    const moment = new Promise<void>((resolve) => (timer = setTimeout(resolve, LOSS_SETTLES_MS)))
    await this.race(moment).catch(() => undefined)
    clearTimeout(timer)
  }

  dispose(): void {
    for (const buffer of [...this.#buffers.keys()]) this.free(buffer)
    this.device.destroy()
  }

  #throwIfLost(): void {
    if (this.lost !== null) throw this.lost
  }

  async #compile({ label, source }: Kernel): Promise<GPUComputePipeline> {
    return await this.guarded(label, async () => {
      const module = this.device.createShaderModule({ label, code: source })
      try {
        return await this.race(
          this.device.createComputePipelineAsync({ label, layout: 'auto', compute: { module, entryPoint: 'main' } }),
        )
      } catch (cause) {
        if (cause instanceof DeviceLost) throw cause
        throw new BackendUnavailableError(`backend "webgpu": expected ${label} to compile, but ${messageOf(cause)}`, {
          cause,
        })
      }
    })
  }

  #create(label: string, byteLength: number, usage: number, mappedAtCreation: boolean): GPUBuffer {
    this.#throwIfLost()
    const size = gpuBufferBytes(byteLength)
    try {
      const buffer = this.device.createBuffer({ label: `heddle.${label}`, size, usage, mappedAtCreation })
      this.#buffers.set(buffer, size)
      this.#residentBytes += size
      this.#peakBytes = Math.max(this.#peakBytes, this.#residentBytes)
      return buffer
    } catch (cause) {
      throw outOfMemory(label, size, cause)
    }
  }
}

function deviceError(what: string, error: GPUError): BackendUnavailableError {
  return new BackendUnavailableError(
    `backend "webgpu": expected ${what} to run, but the device reported: ${error.message}`,
    { cause: error },
  )
}

function outOfMemory(what: string, bytes: number | undefined, cause: unknown): MemoryBudgetError {
  const room = bytes === undefined ? 'room' : `room for ${bytes} bytes`
  return new MemoryBudgetError(`webgpu ${what}: expected ${room} on the device, but it refused the allocation`, {
    cause,
    details: { what, bytes },
  })
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
