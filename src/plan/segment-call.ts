import type { BytesByPurpose } from '../core/ledger.ts'
import type { Transport } from './transport.ts'
import type { AttentionSizes, Visibility } from './attention-sizes.ts'
import type { PlannedLane } from './lane-bytes.ts'

/** An input of a call whose tasks are key segments. */
export interface SegmentInput {
  readonly shared: boolean
  readonly bytes: number
  /** bytes that stay with a lane while it works on one task head */
  readonly headBytes: number
  /** bytes for each key of a task's segment */
  readonly keyBytes: number
}

/** Tasks beside those of the gradients: of a bias matrix that several heads or batches share. */
export interface SharedBias {
  /** matrices: heads and batches that do not share one */
  readonly taskHeads: number
  /** heads that share one */
  readonly parts: number
  readonly flopsPerPair: number
  /** bytes that a task, its data and its answer take, for each key of its segment and besides */
  readonly keyBytes: number
  readonly taskBytes: number
}

/** Attention backward, or Pᵀ·X, as a plan sees it. */
export interface SegmentPlanRequest {
  readonly call: 'attentionBackward' | 'attentionTransposed'
  /** `valueSize` is the width of X in Pᵀ·X */
  readonly sizes: AttentionSizes
  readonly visibility: Visibility
  /** heads per batch that have tasks of their own: key heads, or the query heads of Pᵀ·X */
  readonly taskHeads: number
  readonly flopsPerPair: number
  readonly transport: Transport
  readonly lanes: readonly PlannedLane[]
  readonly inputs: readonly SegmentInput[]
  /** what the caller gets, by purpose; a budget does not count it */
  readonly results: BytesByPurpose
  /** bytes per key of a segment that come back with a task; 0 where lanes write results in place */
  readonly returnedKeyBytes: number
  /** a task's slot of dQ, which comes back with it; 0 where there is none */
  readonly slotBytes: number
  /** whether one addition of a slot is so long that it is cut, and the slot lives on meanwhile */
  readonly slicedSlots: boolean
  readonly sharedBias: SharedBias | null
  /** what does not depend on lanes, by purpose */
  readonly fixedBytes: BytesByPurpose
  readonly budgetBytes: number | undefined
  readonly budgetSource: string
  readonly kept?: readonly number[]
}

/** What a backward call, or Pᵀ·X, will do and hold, by arithmetic alone. */
export interface SegmentPlan {
  /** which of the two it is for */
  readonly call: SegmentPlanRequest['call']
  /** B, H, Hkv, M, N, D and Dv */
  readonly sizes: AttentionSizes
  /** whether threads share the inputs, or copies are transferred */
  readonly transport: Transport
  /** tasks that one head's keys are cut into, by the shape and the position options alone */
  readonly keySegments: number
  /** tasks in all: one for each batch, head and key segment, and those of a shared bias */
  readonly tasks: number
  /** how many of them belong to a bias matrix that several heads share */
  readonly biasTasks: number
  /** the tasks of a bias matrix that several heads share; null where there are none */
  readonly sharedBias: SharedBias | null
  /** tasks that go to a lane in one message: more than one where they are tiny */
  readonly tasksPerMessage: number
  /** messages that wait or run at one lane at once */
  readonly depth: number
  /** lanes that take part; one head uses at most eight */
  readonly lanes: number
  /** the kind of each lane that takes part */
  readonly laneKinds: readonly ('wasm' | 'webgpu')[]
  /** bytes per key of a segment that travel with a task and its answer */
  readonly keyBytes: number
  /** slots of dQ that may exist at once: those of tasks at work, and those that wait for an earlier segment */
  readonly slots: number
  /** multiply-adds count as two; pairs hidden by position are not counted */
  readonly flops: number
  /** bytes that Heddle allocates, by purpose */
  readonly bytes: BytesByPurpose
  /** their sum: the peak of the counting allocator is never above it */
  readonly totalBytes: number
  /** the part that a memory budget limits: all but the gradients (or the output) */
  readonly budgetedBytes: number
  /** the memory budget; undefined where there is none */
  readonly budgetBytes: number | undefined
  /** for comparison: one M × N matrix of every head; plain autograd holds several */
  readonly standardBytes: number
  /** The plan as lines for a terminal. */
  explain(): string
}
