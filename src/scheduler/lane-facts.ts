import type { GpuFacts } from '../plan/gpu-memory.ts'
import type { LaneConfig } from '../protocol/messages.ts'

/** What a plan and a report say of a lane. */
export interface LaneFacts {
  /** its number in the pool */
  readonly lane: number
  /** what computes on it */
  readonly kind: LaneConfig['kind']
  /** the binary or GPU; null before it has started */
  readonly kernels: string | null
  /** what it holds for itself: its arenas, or its device buffers */
  readonly residentBytes: number
  /** the part of them that is its second bench's */
  readonly besideBytes: number
  /** the parts of both, and of its second bench's, that are its memory for stages */
  readonly stageBytes: number
  /** the part of `besideBytes` that is its memory for stages */
  readonly besideStageBytes: number
  /** whether a call that comes now may use both benches */
  readonly mayRunBeside: boolean
  /** copies of weights that stay with it, where memory is not shared */
  readonly lastingBytes: number
  /** of a GPU lane that has started: its device */
  readonly facts: GpuFacts | undefined
}
