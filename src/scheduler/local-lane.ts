import type { LaneConfig, LaneHello, TaskRequest, TaskResponse } from '../protocol/messages.ts'
import { ProtocolError } from '../core/errors.ts'
import type { ArrayId } from '../protocol/task.ts'
import type { LaneHost } from './lane-host.ts'
import type { Lane } from './lane.ts'

/** A lane on the calling thread: the same code without a worker, fetched when it is first needed. */
export class LocalLane implements Lane {
  readonly lost = new Promise<Error>(() => undefined)
  #host: LaneHost | null = null

  async start(config: LaneConfig): Promise<LaneHello> {
    const { makeLocalHost } = await import('./local-host.ts')
    this.#host = makeLocalHost()
    return this.#host.start(config)
  }

  run(request: TaskRequest): Promise<TaskResponse> {
    if (this.#host === null) return Promise.reject(new ProtocolError('lane: expected start() before run()'))
    return this.#host.run(request)
  }

  /** The thread that asks is the one that answers. */
  ping(): Promise<void> {
    return Promise.resolve()
  }

  release(ids: readonly ArrayId[]): void {
    this.#host?.release(ids)
  }

  cancel(jobId: number): void {
    this.#host?.cancel(jobId)
  }

  keepAlive(): void {
    // The calling thread is alive by itself.
  }

  stop(): Promise<void> {
    this.#host?.dispose()
    return Promise.resolve()
  }
}
