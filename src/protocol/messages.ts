import type { GpuFacts } from '../plan/gpu-memory.ts'
import type {
  AttentionBackwardResult,
  AttentionBackwardTask,
  AttentionBiasResult,
  AttentionBiasTask,
  AttentionTransposedResult,
  AttentionTransposedTask,
} from './backward-task.ts'
import type { AttentionHeadsResult, AttentionHeadsTask } from './heads-task.ts'
import type { PackedArray } from './large-array.ts'
import type { RowStageResult } from './stage.ts'
import type { StagePass, StagePassResult, StageTask } from './stage-pass.ts'
import type { ArrayId, AttentionTask, AttentionTaskResult, TaskArray } from './task.ts'

/** Raised with every change of what crosses threads; a worker of another version is refused with a ProtocolError. */
export const PROTOCOL_VERSION = 7

export type LaneKind = 'wasm' | 'webgpu'

/** A kernel binary as lanes get it: compiled where the sender may compile, else its bytes. */
export type Kernels = WebAssembly.Module | Uint8Array<ArrayBuffer>

/** Kernels that a lane gets with the first task that needs them: apps without gradients or layers never load them. */
export type LaterKernels = 'gradients' | 'rows'
export type SentKernels = { readonly [Name in LaterKernels]?: Kernels }

/** What a lane is started with. */
export interface LaneConfig {
  readonly kind: LaneKind
  /** 'portable' keeps to plain SIMD: the same bits on every machine */
  readonly numerics: 'fast' | 'portable'
  /** kernels of attention, compiled or as bytes; null where the worker file brings its own */
  readonly wasm: { readonly simd?: Kernels; readonly relaxed?: Kernels } | null
  /** of a GPU lane */
  readonly webgpu?: WebGpuConfig
}

/** How a GPU lane computes. */
export interface WebGpuConfig {
  /**
   * How keys and values are stored on the device: `float16` has half the bytes, and an error of 2⁻¹¹ of each value.
   * @default 'float32'
   */
  readonly storage?: 'float32' | 'float16'
  /** The variant of the attention kernel; `auto` measures them once on a real GPU. @default 'auto' */
  readonly tile?: 'auto' | 'base' | 'wide' | 'subgroups' | 'wide-subgroups'
}

/** A lane's answer when it has started. */
export interface LaneHello {
  readonly version: number
  /** the binary or the GPU that it runs: 'simd', 'relaxed', or an adapter's description */
  readonly kernels: string
  readonly residentBytes: number
  /** of a GPU lane: what plans must know of its device */
  readonly facts?: GpuFacts
}

/**
 * Work for a lane: the arrays it has not seen, those it may forget, and tasks to run in order (one, unless they are
 * tiny).
 */
export interface TaskRequest {
  readonly jobId: number
  readonly attach: readonly { readonly id: ArrayId; readonly array: TaskArray | PackedArray }[]
  readonly release: readonly ArrayId[]
  readonly tasks: readonly Task[]
  /** on the lane's second bench, in turns with what runs on the first */
  readonly beside?: boolean
  /** those that its tasks need and the lane has not got yet, unless the worker file brings its own */
  readonly kernels?: SentKernels
}

export type Task =
  | AttentionTask
  | AttentionHeadsTask
  | AttentionBackwardTask
  | AttentionBiasTask
  | AttentionTransposedTask
  | StageTask
  | StagePass

const LATER_KERNELS: Readonly<Record<Exclude<Task['kind'], 'pass'>, readonly LaterKernels[]>> = {
  attention: [],
  'attention-heads': [],
  'attention-backward': ['gradients'],
  'attention-bias': ['gradients'],
  'attention-transposed': ['gradients'],
  stage: ['rows'],
}

/** What a lane needs for the task beside the kernels that it started with. */
export function laterKernelsOf(task: Task): readonly LaterKernels[] {
  if (task.kind !== 'pass') return LATER_KERNELS[task.kind]
  return task.stages.some(({ kind }) => kind === 'attention-backward') ? ['rows', 'gradients'] : ['rows']
}

export type TaskResult =
  | AttentionTaskResult
  | AttentionHeadsResult
  | AttentionBackwardResult
  | AttentionBiasResult
  | AttentionTransposedResult
  | RowStageResult
  | StagePassResult

/** Something ran in another way than asked for. */
export interface Fallback {
  /** what ran in place of what, such as "plain SIMD in place of relaxed SIMD" */
  readonly what: string
  /** why it was not possible, as a sentence */
  readonly reason: string
}

export interface TaskResponse {
  /** one per task, in order */
  readonly results: readonly TaskResult[]
  /** the most that the lane's first bench held for itself while the tasks ran: its arena, or its device buffers */
  readonly residentBytes: number
  /** what that will still hold once the call's arrays are released */
  readonly keptBytes: number
  /** what the second bench holds */
  readonly besideBytes: number
  /**
   * the parts of the first bench's bytes and of the second's that are a memory of its own for stages; 0 where there is
   * none
   */
  readonly stageBytes: number
  readonly besideStageBytes: number
  readonly fallbacks: readonly Fallback[]
}

/** The worker's side, as Comlink exposes it. Every method may reject with a HeddleError. */
export interface LaneApi {
  start(config: LaneConfig): Promise<LaneHello>
  run(request: TaskRequest): Promise<TaskResponse>
  /** Forgets arrays; one-way in spirit: nobody waits for it. */
  release(ids: readonly ArrayId[]): void
  /** A sign of life. */
  ping(): void
  /** Tasks of this job that wait fail at once, those that run at their next turn. */
  cancel(jobId: number): void
}
