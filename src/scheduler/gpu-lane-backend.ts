import { ableTo, type Backend, type TaskContext } from '../backends/backend.ts'
import { createWebGpuBackend, type WebGpuBackend } from '../backends/webgpu/engine.ts'
import { adapterName } from '../backends/webgpu/probe.ts'
import { GPU_OVERLAP, type GpuFacts } from '../plan/gpu-memory.ts'
import type {
  AttentionBackwardResult,
  AttentionBackwardTask,
  AttentionBiasResult,
  AttentionBiasTask,
  AttentionTransposedResult,
  AttentionTransposedTask,
} from '../protocol/backward-task.ts'
import type { RowStageResult, RowStageTask } from '../protocol/stage.ts'
import type { SumResult, SumWork } from '../protocol/sums.ts'
import type { ArrayId, AttentionTask, AttentionTaskResult } from '../protocol/task.ts'
import type { Fallback, WebGpuConfig } from '../protocol/messages.ts'
import { isWasmStep } from '../protocol/wasm-steps.ts'

/** A lost device is replaced so often; after that the lane computes on wasm. */
const MAX_NEW_DEVICES = 1

/**
 * What a GPU lane runs: its device, and wasm beside it for what the device cannot do. Inputs with NaN or infinities go
 * to wasm task by task; a lost device is replaced once, and after that wasm does the rest. Each is told once for each
 * call. Tasks overlap on the device; wasm, which has one arena, takes them one after the other.
 */
export class GpuLaneBackend implements Backend {
  readonly kind = 'webgpu'
  readonly overlap = GPU_OVERLAP
  readonly facts: GpuFacts | undefined
  #gpu: Backend | null
  /** settles when a lost device is replaced, or given up */
  #replacing: Promise<void> = Promise.resolve()
  #wasm: Promise<Backend> | null = null
  #wasmTail: Promise<unknown> = Promise.resolve()
  #wasmBytes: () => number = () => 0
  #wasmStageBytes: () => number = () => 0
  #newDevices = 0
  readonly #fallbacks: Fallback[] = []

  private constructor(
    gpu: WebGpuBackend,
    private readonly makeWasm: () => Promise<Backend>,
    private readonly config: WebGpuConfig,
  ) {
    this.#gpu = gpu
    this.facts = gpu.facts
  }

  /** @throws {BackendUnavailableError} without an adapter or device */
  static async create(
    makeWasm: () => Promise<Backend>,
    config: WebGpuConfig = {},
  ): Promise<{ backend: GpuLaneBackend; kernels: string }> {
    const gpu = await createWebGpuBackend(undefined, config)
    const { tile, reason } = gpu.tile
    const storage = config.storage === 'float16' ? ', keys and values in float16' : ''
    const kernels = `${adapterName(gpu.gpu.info)}${tile === 'base' ? '' : `, ${tile} tile (${reason})`}${storage}`
    return { backend: new GpuLaneBackend(gpu, makeWasm, config), kernels }
  }

  residentBytes(): number {
    return (this.#gpu?.residentBytes() ?? 0) + this.#wasmBytes()
  }

  takePeakBytes(): number {
    return (this.#gpu?.takePeakBytes?.() ?? 0) + this.#wasmBytes()
  }

  /** Of its wasm: the device has no memory of its own for stages. */
  stageBytes(): number {
    return this.#wasmStageBytes()
  }

  keptBytes(): number {
    return (this.#gpu?.keptBytes?.() ?? 0) + this.#wasmBytes()
  }

  attention(task: AttentionTask, context: TaskContext): Promise<AttentionTaskResult> {
    return this.#run((backend) => backend.attention(task, context))
  }

  rows(task: RowStageTask, context: TaskContext): Promise<RowStageResult> {
    if (task.withoutGpu === true) return this.#runWithoutGpu('gradients', (wasm) => ableTo(wasm, 'rows')(task, context))
    const missing = task.steps.map(({ op }) => op).find(isWasmStep)
    if (missing !== undefined) return this.#runWithoutGpu(missing, (wasm) => ableTo(wasm, 'rows')(task, context))
    return this.#run((backend) => ableTo(backend, 'rows')(task, context))
  }

  attentionBackward(task: AttentionBackwardTask, context: TaskContext): Promise<AttentionBackwardResult> {
    return this.#runWithoutGpu('attention backward', (wasm) => ableTo(wasm, 'attentionBackward')(task, context))
  }

  attentionBias(task: AttentionBiasTask, context: TaskContext): Promise<AttentionBiasResult> {
    return this.#runWithoutGpu('attention backward', (wasm) => ableTo(wasm, 'attentionBias')(task, context))
  }

  attentionTransposed(task: AttentionTransposedTask, context: TaskContext): Promise<AttentionTransposedResult> {
    return this.#runWithoutGpu('Pᵀ·X', (wasm) => ableTo(wasm, 'attentionTransposed')(task, context))
  }

  sums(work: SumWork, context: TaskContext): Promise<SumResult> {
    return this.#runWithoutGpu('gradients', (wasm) => ableTo(wasm, 'sums')(work, context))
  }

  /** What has no kernels for the device. */
  #runWithoutGpu<T>(what: string, run: (wasm: Backend) => Promise<T>): Promise<T> {
    this.#tell(`${what} on wasm in place of webgpu`, 'there are no WebGPU kernels for it')
    return this.#runOnWasm(run)
  }

  async #run<T>(run: (backend: Backend) => Promise<T>): Promise<T> {
    for (;;) {
      await this.#replacing
      const gpu = this.#gpu
      if (gpu === null) break
      try {
        return await run(gpu)
      } catch (error) {
        if (!(error instanceof Error)) throw error
        if (error.name === 'NonFiniteInput') {
          this.#tell('wasm in place of webgpu for some tasks', error.message)
          break
        }
        if (error.name !== 'DeviceLost') throw error
        // Two tasks may fail by the same loss: the first one replaces the device.
        if (this.#gpu === gpu) this.#replacing = this.#replaceDevice(error)
      }
    }
    return await this.#runOnWasm(run)
  }

  /** What ran otherwise since the last call of this. */
  takeFallbacks(): Fallback[] {
    return [...this.#fallbacks.splice(0), ...(this.#gpu?.takeFallbacks?.() ?? [])]
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
        this.#gpu = await createWebGpuBackend(undefined, this.config)
        this.#tell('a new GPU device in place of a lost one', loss.message)
        return
      } catch (error) {
        this.#tell(
          'wasm in place of webgpu',
          `${loss.message}; no new device: ${error instanceof Error ? error.message : String(error)}`,
        )
        return
      }
    }
    this.#tell('wasm in place of webgpu', `${loss.message}, after ${MAX_NEW_DEVICES} new device`)
  }

  #runOnWasm<T>(run: (backend: Backend) => Promise<T>): Promise<T> {
    const done = this.#wasmTail.then(async () => run(await this.#wasmBackend()))
    this.#wasmTail = done.catch(() => undefined)
    return done
  }

  #wasmBackend(): Promise<Backend> {
    this.#wasm ??= this.makeWasm().then((wasm) => {
      this.#wasmBytes = () => wasm.residentBytes()
      this.#wasmStageBytes = () => wasm.stageBytes?.() ?? 0
      return wasm
    })
    return this.#wasm
  }

  #tell(what: string, reason: string): void {
    if (!this.#fallbacks.some((fallback) => fallback.what === what)) this.#fallbacks.push({ what, reason })
  }
}
