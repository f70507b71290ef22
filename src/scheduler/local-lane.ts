import type { LaneConfig, LaneHello, TaskRequest, TaskResponse } from '../protocol/messages.ts'
import type { ArrayId } from '../protocol/task.ts'
import { LaneHost } from './lane-host.ts'
import type { Lane } from './lane.ts'

/** A lane on the calling thread: the same code without a worker. */
export class LocalLane implements Lane {
  readonly lost = new Promise<Error>(() => undefined)
  readonly #host = new LaneHost(false)

  start(config: LaneConfig): Promise<LaneHello> {
    return this.#host.start(config)
  }

  run(request: TaskRequest): Promise<TaskResponse> {
    return this.#host.run(request)
  }

  /** The thread that asks is the one that answers. */
  ping(): Promise<void> {
    return Promise.resolve()
  }

  release(ids: readonly ArrayId[]): void {
    this.#host.release(ids)
  }

  cancel(jobId: number): void {
    this.#host.cancel(jobId)
  }

  keepAlive(): void {
    // The calling thread is alive by itself.
  }

  stop(): Promise<void> {
    this.#host.dispose()
    return Promise.resolve()
  }
}
