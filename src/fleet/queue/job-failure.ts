import type { Job, Queue } from 'bullmq'
import { errorOfCode, HeddleError, isErrorCode, WorkerLostError, type HeddleErrorCode } from '../../core/errors.ts'

/** Failures that would be the same at the next try: what was asked for does not fit. */
const FINAL: readonly HeddleErrorCode[] = ['ShapeError', 'OptionError', 'FormatError', 'ProtocolError', 'NumericError']

/** Whether another try is of no use. */
export function isFinal(error: unknown): boolean {
  return error instanceof HeddleError && FINAL.includes(error.code)
}

/** BullMQ keeps only the message of a failure, so the code is put in front of it. */
export function failureText(error: unknown, host: string): string {
  const code = error instanceof HeddleError ? error.code : 'WorkerLostError'
  return `${code}: ${error instanceof Error ? error.message : String(error)} (host ${host})`
}

/**
 * The error that a host wrote with {@link failureText}, with its class; a WorkerLostError for what BullMQ itself says.
 */
export function failureOf(reason: string, job: string): HeddleError {
  const [, code, message] = /^(\w+): ([\s\S]*)$/.exec(reason) ?? []
  const details = { job }
  if (isErrorCode(code)) return errorOfCode(code, message ?? '', { details })
  const isStalled = /stalled more than/.test(reason)
  const lost = `fleet: expected a host to finish job ${job}, but every host that had it went away`
  return new WorkerLostError(isStalled ? lost : `fleet: job ${job} failed: ${reason}`, { details })
}

/** Why a job failed: of a flow, the failure of the child, or of its child, that began it. */
export async function findFailure(queue: Queue, job: Job): Promise<HeddleError> {
  let current = job
  for (;;) {
    const child = /^child \S*:([^:\s]+) failed$/.exec(current.failedReason)?.[1]
    const next = child === undefined ? undefined : await queue.getJob(child)
    if (next === undefined) return failureOf(current.failedReason, current.id ?? '')
    current = next
  }
}
