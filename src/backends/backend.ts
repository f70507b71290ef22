import { BackendUnavailableError } from '../core/errors.ts'
import type { GpuFacts } from '../plan/gpu-memory.ts'
import type { Fallback } from '../protocol/messages.ts'
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
import type { AttentionHeadsResult, AttentionHeadsTask } from '../protocol/heads-task.ts'
import type { ArrayId, AttentionTask, AttentionTaskResult, TaskArray } from '../protocol/task.ts'

export type BackendKind = 'wasm' | 'webgpu'

/** What a backend asks of its lane while a task runs. */
export interface TaskContext {
  /** The array attached under `id`. */
  array(id: ArrayId): TaskArray
  /**
   * Called between key blocks (a few milliseconds of work). Undefined: go on. A promise: await it, the lane takes a
   * turn of its event loop; it rejects when the task was cancelled, and the task must then write nothing more.
   */
  pace(): Promise<void> | undefined
}

/** One way to compute a task. A lane owns exactly one backend; backends never import each other. */
export interface Backend {
  readonly kind: BackendKind
  /** bytes that this backend holds now: its arena or its device buffers */
  residentBytes(): number
  /** the most bytes that it held at once since the last call of this; absent where it holds the same all the time */
  takePeakBytes?(): number
  /** bytes that it will still hold once every array is released; absent where that is all */
  keptBytes?(): number
  /** the part of its bytes that is a memory of its own for stages; absent where it has none */
  stageBytes?(): number
  /** tasks that it can be given at once. @default 1 */
  readonly overlap?: number
  /** what plans must know of its device */
  readonly facts?: GpuFacts | undefined
  /** Computes the chunk into its destinations. A slice is written some rows at a time, never after `pace` rejected. */
  attention(task: AttentionTask, context: TaskContext): Promise<AttentionTaskResult>
  /** The same for tasks one after the other, with what they have in common done once. Absent: one by one is as good. */
  attentionAll?(tasks: readonly AttentionTask[], context: TaskContext): Promise<AttentionTaskResult[]>
  /** Attention of many small heads. Absent: plans make no such tasks for a lane of this kind. */
  attentionHeads?(task: AttentionHeadsTask, context: TaskContext): Promise<AttentionHeadsResult>
  /** Gradients of one key head over one key segment. Absent: this backend has no backward kernels. */
  attentionBackward?(task: AttentionBackwardTask, context: TaskContext): Promise<AttentionBackwardResult>
  /** Pᵀ·X over one key segment. Absent as `attentionBackward` is. */
  attentionTransposed?(task: AttentionTransposedTask, context: TaskContext): Promise<AttentionTransposedResult>
  /** The gradient of a bias that heads share, over one key segment. Absent as `attentionBackward` is. */
  attentionBias?(task: AttentionBiasTask, context: TaskContext): Promise<AttentionBiasResult>
  /** Runs a stage over its chunk of rows. Absent: this backend has no row-wise kernels. */
  rows?(task: RowStageTask, context: TaskContext): Promise<RowStageResult>
  /** Sums over rows, for gradients of parameters. Absent: this backend has no kernels for them. */
  sums?(work: SumWork, context: TaskContext): Promise<SumResult>
  /** Forgets what it cached of these arrays. */
  release?(ids: readonly ArrayId[]): void
  /** What ran otherwise than asked for since the last call of this. */
  takeFallbacks?(): readonly Fallback[]
  dispose(): void
}

/** What not every backend has. @throws {BackendUnavailableError} where this one lacks it */
export function ableTo<
  Name extends 'attentionHeads' | 'attentionBackward' | 'attentionBias' | 'attentionTransposed' | 'rows' | 'sums',
>(backend: Backend, name: Name): NonNullable<Backend[Name]> {
  const method = backend[name]
  if (method === undefined)
    throw new BackendUnavailableError(`lane: expected a backend with kernels for ${name}, got ${backend.kind}`)
  return method.bind(backend) as NonNullable<Backend[Name]>
}
