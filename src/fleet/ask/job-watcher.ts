import type { Job, Queue, QueueEvents } from 'bullmq'
import { findFailure } from '../queue/job-failure.ts'
import { WorkerLostError } from '../../core/errors.ts'

/** Events can be lost: Redis keeps the last 10,000. So each job that is waited for is also asked about, this often. */
const LOOK_EVERY_MS = 5000

interface Waiting {
  readonly resolve: (result: unknown) => void
  readonly reject: (error: unknown) => void
}

/** Settles a promise for each job that is waited for: by BullMQ's events, and by a look at the job now and then. */
export class JobWatcher {
  readonly #queue: Queue
  readonly #waiting = new Map<string, Waiting>()
  #timer: NodeJS.Timeout | undefined

  constructor(queue: Queue, events: QueueEvents) {
    this.#queue = queue
    events.on('completed', ({ jobId }) => this.#look(jobId))
    events.on('failed', ({ jobId }) => this.#look(jobId))
  }

  /**
   * What the job returned.
   *
   * @throws what made it fail; {WorkerLostError} when Redis no longer knows it
   */
  wait(job: string): Promise<unknown> {
    const settled = new Promise<unknown>((resolve, reject) => this.#waiting.set(job, { resolve, reject }))
    this.#timer ??= setInterval(() => [...this.#waiting.keys()].forEach((id) => this.#look(id)), LOOK_EVERY_MS)
    // It may have ended before anyone listened.
    this.#look(job)
    return settled.finally(() => this.forget(job))
  }

  /** Stops waiting; the promise stays as it is. */
  forget(job: string): void {
    this.#waiting.delete(job)
    if (this.#waiting.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  /** Rejects everything that is waited for. */
  rejectAll(error: unknown): void {
    for (const { reject } of this.#waiting.values()) reject(error)
  }

  #look(id: string): void {
    const waiting = this.#waiting.get(id)
    if (waiting !== undefined) this.#settle(id, waiting).catch(waiting.reject)
  }

  async #settle(id: string, { resolve, reject }: Waiting): Promise<void> {
    const job: Job | undefined = await this.#queue.getJob(id)
    if (job === undefined) {
      const message = `fleet: expected job ${id} in queue ${this.#queue.name}, but Redis no longer has it`
      return reject(new WorkerLostError(message, { details: { job: id } }))
    }
    const state = await job.getState()
    if (state === 'completed') resolve((await this.#queue.getJob(id))?.returnvalue)
    else if (state === 'failed') reject(await findFailure(this.#queue, (await this.#queue.getJob(id)) ?? job))
  }
}
