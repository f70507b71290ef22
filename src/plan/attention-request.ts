import type { BytesByPurpose, Purpose } from '../core/ledger.ts'
import type { AttentionSizes, Visibility } from './attention-sizes.ts'
import type { GpuAllowance } from './gpu-memory.ts'
import type { PlannedLane, ScoreInputs } from './lane-bytes.ts'
import type { Transport } from './transport.ts'

/** `standard` holds the whole matrix of scores, `chunked` never does. */
export type AttentionMode = 'standard' | 'chunked'

/** An input beyond query, key and value: its elements in all, and how many a task of `rows` rows of one head needs. */
export interface PlannedInput {
  readonly shared: boolean
  readonly bytes: number
  /** bytes that stay with a lane while it works on one head */
  readonly headBytes: number
  /** bytes for each query row of a task */
  readonly rowBytes: number
}

/** A result: bytes for each query row of one head. */
export interface PlannedResult {
  readonly purpose: Purpose
  readonly rowBytes: number
  /** rows of all heads */
  readonly rows: number
  /** written by the lanes in place; else sent back chunk by chunk */
  readonly direct: boolean
  /** whether Heddle allocates it; an `out` tensor is the caller's */
  readonly owned: boolean
}

/** Weights of chosen rows, sent back with their chunks. */
export interface PlannedSelection {
  /** ascending, distinct */
  readonly rows: readonly number[]
  /** distinct heads */
  readonly heads: number
}

export interface PlanRequest {
  readonly sizes: AttentionSizes
  readonly visibility: Visibility
  readonly mode: AttentionMode
  readonly chunkSize: number | undefined
  /** parts that the keys are cut into: 1, or `keySplits` where only output and log-sum-exp are asked for */
  readonly keySplits: number
  readonly transport: Transport
  readonly lanes: readonly PlannedLane[]
  readonly scoreInputs: ScoreInputs
  /** distinct arrays: one that is both key and value is listed once */
  readonly inputs: readonly PlannedInput[]
  readonly results: readonly PlannedResult[]
  readonly selection: PlannedSelection | null
  /** results whose size no chunk changes, by purpose */
  readonly fixedBytes: BytesByPurpose
  readonly budgetBytes: number | undefined
  /** where the budget comes from, for messages: the option, or the machine's memory */
  readonly budgetSource: string
  /** bytes of each buffer of shared memory that earlier calls left for later ones */
  readonly kept?: readonly number[]
}

/** What a call will do and hold, computed by arithmetic alone before anything runs. */
export interface AttentionPlan {
  /** which algorithm will run */
  readonly mode: AttentionMode
  /** B, H, Hkv, M, N, D and Dv */
  readonly sizes: AttentionSizes
  /** whether threads share the inputs, or copies are transferred */
  readonly transport: Transport
  /** query rows per task */
  readonly chunkRows: number
  /** parts that the keys are cut into, for few query rows over many keys; they merge in key order */
  readonly keySplits: number
  /** tasks in all: ⌈M / chunkRows⌉ for each of B·H heads and each part of the keys */
  readonly tasks: number
  /** tasks that go to a lane in one message: more than one where they are tiny */
  readonly tasksPerMessage: number
  /** messages that wait or run at one lane at once */
  readonly depth: number
  /** lanes that take part */
  readonly lanes: number
  /** whether tasks may run in turns with those of calls that are under way: each lane then holds a second arena */
  readonly mayRunBeside: boolean
  /** the kind of each lane that takes part */
  readonly laneKinds: readonly ('wasm' | 'webgpu')[]
  /** what each GPU lane may take of its device; null without one */
  readonly device: GpuAllowance | null
  /** multiply-adds count as two; pairs hidden by position are not counted */
  readonly flops: number
  /** bytes that Heddle allocates, by purpose */
  readonly bytes: BytesByPurpose
  /** their sum: the peak of the counting allocator is never above it */
  readonly totalBytes: number
  /** the part that a memory budget limits: all but the output */
  readonly budgetedBytes: number
  /** the memory budget; undefined where there is none */
  readonly budgetBytes: number | undefined
  /** for comparison: the full M × N matrix of every head, as standard attention holds it */
  readonly standardBytes: number
  /** The plan as lines for a terminal. */
  explain(): string
}
