import type { LaneConfig, LaneHello, TaskRequest, TaskResponse } from '../protocol/messages.ts'
import type { ArrayId } from '../protocol/task.ts'

/** One worker of the pool, as the pool sees it. */
export interface Lane {
  /** Resolves, once, with the reason when the lane died; pending calls reject with a LaneLost then. */
  readonly lost: Promise<Error>
  /** @throws {BackendUnavailableError} when the host refuses; {LaneLost} when the lane died meanwhile */
  start(config: LaneConfig): Promise<LaneHello>
  run(request: TaskRequest): Promise<TaskResponse>
  /** Resolves when the lane has taken a turn of its event loop. */
  ping(): Promise<void>
  release(ids: readonly ArrayId[]): void
  cancel(jobId: number): void
  /** Whether a process must stay alive for this lane. */
  keepAlive(alive: boolean): void
  /** Ends the lane; never rejects. A second call waits for the first. @param reason why its pending calls fail */
  stop(reason?: Error): Promise<void>
}

/** The lane died while a call was pending. The pool retries the task; callers never see this. */
export class LaneLost extends Error {
  constructor(cause: Error) {
    super(`the lane was lost: ${cause.message}`, { cause })
    this.name = 'LaneLost'
  }
}
