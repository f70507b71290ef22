import type { JobsOptions } from 'bullmq'

/** Tries of a job whose failure another try, or another host, may mend. */
export const ATTEMPTS = 3

const KEPT_SECONDS = 3600

/** Finished jobs stay for an hour, for whoever looks into what went wrong. Results are in the store, not in Redis. */
export const JOB_OPTIONS: JobsOptions = {
  attempts: ATTEMPTS,
  backoff: { type: 'exponential', delay: 500 },
  removeOnComplete: { age: KEPT_SECONDS, count: 1000 },
  removeOnFail: { age: KEPT_SECONDS, count: 1000 },
  stackTraceLimit: 1,
}
