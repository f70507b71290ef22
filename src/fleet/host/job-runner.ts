import type { Job } from 'bullmq'
import { checkJob, type FleetJob } from '../jobs/job-format.ts'
import { failureText, isFinal } from '../queue/job-failure.ts'
import type { BullMq } from '../queue/load-peers.ts'
import { runGather, runMerge, runPartial } from './run-attention-jobs.ts'
import { runEmbed } from './run-embed-job.ts'
import type { FleetEvent } from './fleet-log.ts'
import type { HostContext, JobOutcome } from './host-context.ts'
import type { HostStatistics } from './host-statistics.ts'

interface RunnerParts {
  readonly bullmq: BullMq
  readonly host: HostContext
  readonly statistics: HostStatistics
  /** @returns whether the call has been cancelled */
  readonly isCancelled: (call: string) => Promise<boolean>
  readonly log: (event: Omit<FleetEvent, 'time' | 'host'>) => void
  readonly name: string
}

/** Reasons of aborts that are not failures. */
const CANCELLED = new Error('cancelled')
const GIVEN_BACK = new Error('given back')

/** Runs the jobs of a host: checks, dispatches, stops and reports them. */
export class JobRunner {
  readonly #parts: RunnerParts
  #running: { readonly call: string; readonly abort: AbortController } | undefined

  constructor(parts: RunnerParts) {
    this.#parts = parts
  }

  /** Stops the running job if it belongs to the call. */
  cancel(call: string): void {
    if (this.#running?.call === call) this.#running.abort.abort(CANCELLED)
  }

  /** Stops the running job, which goes back to the queue for another host. */
  giveBack(): void {
    this.#running?.abort.abort(GIVEN_BACK)
  }

  /** BullMQ's processor. @throws an error whose message is {@link failureText}; final ones as UnrecoverableError */
  async process(job: Job<unknown>, token: string | undefined): Promise<JobOutcome> {
    const { statistics, log } = this.#parts
    const startMs = performance.now()
    const id = job.id ?? ''
    const kind = job.name as FleetJob['kind']
    statistics.begin({ id, kind, since: Date.now() })
    log({ event: 'started', job: id, kind })
    try {
      const outcome = await this.#run(checkJob(job.data), id)
      await statistics.finish(outcome)
      log({ event: outcome.skipped ? 'skipped' : 'finished', job: id, kind, elapsedMs: performance.now() - startMs })
      return outcome
    } catch (error) {
      if (error === GIVEN_BACK) return await this.#return(job, token, kind)
      await statistics.fail()
      log({ event: 'failed', job: id, kind, elapsedMs: performance.now() - startMs, detail: detailOf(error) })
      throw this.#failure(error)
    } finally {
      statistics.end()
    }
  }

  async #run(job: FleetJob, id: string): Promise<JobOutcome> {
    const abort = new AbortController()
    this.#running = { call: job.call, abort }
    try {
      // Asked once the job can be cancelled, so that no announcement is missed.
      if (await this.#parts.isCancelled(job.call)) throw CANCELLED
      return await dispatch(this.#parts.host, job, id, abort.signal)
    } finally {
      this.#running = undefined
    }
  }

  async #return(job: Job<unknown>, token: string | undefined, kind: FleetJob['kind']): Promise<never> {
    await job.moveToWait(token)
    this.#parts.log({ event: 'returned', job: job.id ?? '', kind })
    throw new this.#parts.bullmq.WaitingError()
  }

  #failure(error: unknown): Error {
    const { bullmq, name } = this.#parts
    if (error === CANCELLED) return new bullmq.UnrecoverableError('cancelled')
    const text = failureText(error, name)
    return isFinal(error) ? new bullmq.UnrecoverableError(text) : new Error(text, { cause: error })
  }
}

function dispatch(host: HostContext, job: FleetJob, id: string, signal: AbortSignal): Promise<JobOutcome> {
  switch (job.kind) {
    case 'partial':
      return runPartial(host, job, id, signal)
    case 'merge':
      return runMerge(host, job, signal)
    case 'gather':
      return runGather(host, job, signal)
    case 'embed':
      return runEmbed(host, job, signal)
  }
}

function detailOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
