import type { AttentionInputs, AttentionOptions, AttentionResult } from '../../attention/attention-options.ts'
import type { PlanInputs } from '../../attention/runtime.ts'
import type { ScratchMemory } from '../../scheduler/scratch-memory.ts'
import type { AttentionPlan, Transport } from '../../plan/attention-plan.ts'
import type { Pool } from '../../scheduler/pool.ts'

/** What layers need of a runtime: its pool and its limits. */
export interface StageHost {
  readonly pool: Pick<Pool, 'run' | 'lanes'>
  readonly scratch: ScratchMemory
  readonly transport: Transport
  readonly budgetBytes: number | undefined
  /** where the budget comes from, for messages */
  readonly budgetSource: string
}

/** A runtime, as `createRuntime` makes it. */
export interface LayerRuntime {
  /** @param onCaller the calling thread's own lane, where there is one that works */
  stageHost(onCaller?: boolean): StageHost
  openCallerLane(): Promise<void>
  attention(inputs: AttentionInputs, options?: AttentionOptions): Promise<AttentionResult>
  plan(inputs: PlanInputs, options?: AttentionOptions): AttentionPlan
}
