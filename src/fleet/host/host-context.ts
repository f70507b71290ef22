import type { Runtime } from '../../attention/runtime.ts'
import type { RowRange } from '../store/stored-tensor.ts'
import type { FleetStore } from '../store/fleet-store.ts'
import type { Claim } from './claim-range.ts'
import type { ModelShelf } from './model-shelf.ts'
import type { TensorShelf } from './tensor-shelf.ts'

/** What a job may use of the host that runs it. */
export interface HostContext {
  readonly store: FleetStore
  readonly runtime: Runtime
  readonly tensors: TensorShelf
  readonly models: ModelShelf
  claim(claim: Omit<Claim, 'firstChoice'>): Promise<RowRange | undefined>
}

/** What a job did. */
export interface JobOutcome {
  /** the result was there already */
  readonly skipped: boolean
  /** tokens or query rows that are now done, for the statistics */
  readonly tokens: number
  /** what the asking side needs to find the result, where it cannot tell by itself */
  readonly result?: string
}

export const SKIPPED: JobOutcome = { skipped: true, tokens: 0 }
