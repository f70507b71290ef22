import type { Backend, TaskContext } from '../backends/backend.ts'
import { createWebGpuBackend } from '../backends/webgpu/engine.ts'
import { adapterName } from '../backends/webgpu/probe.ts'
import { BackendUnavailableError } from '../core/errors.ts'
import type { RowStageResult, RowStageTask } from '../protocol/stage.ts'
import type { ArrayId, AttentionTask, AttentionTaskResult } from '../protocol/task.ts'
import type { Fallback } from '../protocol/messages.ts'

/** A lost device is replaced so often; after that the lane computes on wasm. */
const MAX_NEW_DEVICES = 1

/**
 * What a GPU lane runs: its device, and wasm beside it for what the device cannot do. Inputs with NaN or infinities go to
 * wasm task by task; a lost device is replaced once, and after that wasm does the rest. Each is told once for each call.
 */
export class GpuLaneBackend implements Backend {
  readonly kind = 'webgpu'
  #gpu: Backend | null
  #wasm: Promise<Backend> | null = null
  #wasmBytes: () => number = () => 0
  #newDevices = 0
  readonly #fallbacks: Fallback[] = []

  private constructor(
    gpu: Backend,
    private readonly makeWasm: () => Promise<Backend>,
  ) {
    this.#gpu = gpu
  }

  /** @throws {BackendUnavailableError} without an adapter or device */
  static async create(makeWasm: () => Promise<Backend>): Promise<{ backend: GpuLaneBackend; kernels: string }> {
    const gpu = await createWebGpuBackend()
    return { backend: new GpuLaneBackend(gpu, makeWasm), kernels: adapterName(gpu.gpu.info) }
  }

  residentBytes(): number {
    return (this.#gpu?.residentBytes() ?? 0) + this.#wasmBytes()
  }

  attention(task: AttentionTask, context: TaskContext): Promise<AttentionTaskResult> {
    return this.#run((backend) => backend.attention(task, context))
  }

  rows(task: RowStageTask, context: TaskContext): Promise<RowStageResult> {
    return this.#run((backend) => {
      if (backend.rows === undefined) throw new BackendUnavailableError(`lane: expected a backend with row-wise kernels, got ${backend.kind}`)
      return backend.rows(task, context)
    })
  }

  async #run<T>(run: (backend: Backend) => Promise<T>): Promise<T> {
    while (this.#gpu !== null) {
      try {
        return await run(this.#gpu)
      } catch (error) {
        if (!(error instanceof Error)) throw error
        if (error.name === 'NonFiniteInput') {
          this.#tell('wasm in place of webgpu for some tasks', error.message)
          break
        }
        if (error.name !== 'DeviceLost') throw error
        await this.#replaceDevice(error)
      }
    }
    return run(await this.#wasmBackend())
  }

  /** What ran otherwise since the last call of this. */
  takeFallbacks(): Fallback[] {
    return this.#fallbacks.splice(0)
  }

  release(ids: readonly ArrayId[]): void {
    this.#gpu?.release?.(ids)
  }

  dispose(): void {
    this.#gpu?.dispose()
    this.#gpu = null
    void this.#wasm?.then((wasm) => wasm.dispose())
  }

  async #replaceDevice(loss: Error): Promise<void> {
    this.#gpu?.dispose()
    this.#gpu = null
    if (this.#newDevices < MAX_NEW_DEVICES) {
      this.#newDevices++
      try {
        this.#gpu = await createWebGpuBackend()
        this.#tell('a new GPU device in place of a lost one', loss.message)
        return
      } catch (error) {
        this.#tell('wasm in place of webgpu', `${loss.message}; no new device: ${error instanceof Error ? error.message : String(error)}`)
        return
      }
    }
    this.#tell('wasm in place of webgpu', `${loss.message}, after ${MAX_NEW_DEVICES} new device`)
  }

  #wasmBackend(): Promise<Backend> {
    this.#wasm ??= this.makeWasm().then((wasm) => {
      this.#wasmBytes = () => wasm.residentBytes()
      return wasm
    })
    return this.#wasm
  }

  #tell(what: string, reason: string): void {
    if (!this.#fallbacks.some((fallback) => fallback.what === what)) this.#fallbacks.push({ what, reason })
  }
}
