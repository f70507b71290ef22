import type { MemoryReport } from '../core/ledger.ts'
import type { Transport } from '../plan/transport.ts'
import type { Fallback } from '../protocol/messages.ts'
import type { LaneShare } from '../scheduler/job.ts'

/** What the reports of `attention` and of its gradients have in common. */
export interface CallReport {
  /** whether threads shared the inputs, or copies were transferred */
  readonly transport: Transport
  /** whether relaxed SIMD was allowed */
  readonly numerics: 'fast' | 'portable'
  /** the lanes that did a part of it */
  readonly lanes: readonly LaneShare[]
  /** how many tasks ran */
  readonly tasks: number
  /** tasks sent again because their worker died */
  readonly retries: number
  /** everything that ran in another way than asked for, and why */
  readonly fallbacks: readonly Fallback[]
  /** wall-clock time of the call */
  readonly elapsedMs: number
  /** what the call allocated */
  readonly memory: MemoryReport
  /** (query, key) tiles that were computed */
  readonly tiles: number
  /** tiles that were not computed, because every pair in them is masked */
  readonly skippedTiles: number
}
