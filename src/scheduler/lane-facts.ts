import type { GpuFacts } from '../plan/gpu-memory.ts'
import type { LaneConfig } from '../protocol/messages.ts'

/** What a plan and a report say of a lane. */
export interface LaneFacts {
  readonly lane: number
  readonly kind: LaneConfig['kind']
  readonly kernels: string | null
  readonly residentBytes: number
  /** the part of them that is its second bench's */
  readonly besideBytes: number
  /** the parts of both, and of its second bench's, that are its memory for stages */
  readonly stageBytes: number
  readonly besideStageBytes: number
  /** whether a call that comes now may use both benches */
  readonly mayRunBeside: boolean
  /** copies of weights that stay with it, where memory is not shared */
  readonly lastingBytes: number
  /** of a GPU lane that has started: its device */
  readonly facts: GpuFacts | undefined
}
