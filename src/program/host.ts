import { expected } from '../core/check.ts'
import type { Transport } from '../plan/transport.ts'
import type { Pool } from '../scheduler/pool.ts'
import type { ScratchMemory } from '../scheduler/scratch-memory.ts'

/** What programs need of a runtime: its pool and its limits. */
export interface ProgramHost {
  readonly pool: Pick<Pool, 'run' | 'lanes'>
  readonly scratch: ScratchMemory
  readonly transport: Transport
  readonly budgetBytes: number | undefined
  /** whether the caller set the budget; else it is what the machine has */
  readonly budgetIsGiven?: boolean
  /** where the budget comes from, for messages */
  readonly budgetSource: string
}

/** A runtime, as `createRuntime` makes it. */
export interface ProgramRuntime {
  /** @param onCaller the calling thread's own lane, where there is one that works */
  stageHost(onCaller?: boolean): ProgramHost
  openCallerLane(): Promise<void>
}

/** Whether an option is a runtime, or left out. @throws {OptionError} */
export function checkRuntime(what: string, runtime: unknown): void {
  if (runtime === undefined) return
  if (typeof (runtime as ProgramRuntime | null)?.stageHost !== 'function')
    throw expected(what, 'a runtime made by createRuntime', runtime)
}
