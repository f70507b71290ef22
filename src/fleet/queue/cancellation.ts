import type { Job } from 'bullmq'
import type { Redis } from 'ioredis'
import type { QueueKeys } from './queue-keys.ts'

/** Hosts drop a cancelled call's jobs for as long. */
const CANCELLED_SECONDS = 3600
const REMOVAL_TRIES = 20
const REMOVAL_PAUSE_MS = 250

/** Tells hosts to stop the jobs of a call, and not to start any more. */
export async function announceCancellation(redis: Redis, keys: QueueKeys, call: string): Promise<void> {
  await redis.set(keys.cancelled(call), '1', 'EX', CANCELLED_SECONDS)
  await redis.publish(keys.cancellations, call)
}

export async function isCancelled(redis: Redis, keys: QueueKeys, call: string): Promise<boolean> {
  return (await redis.exists(keys.cancelled(call))) === 1
}

/** Removes a call's jobs. BullMQ keeps those that run, so it asks again until their hosts have stopped them. */
export async function removeJobs(root: Job): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await root.remove({ removeChildren: true })
    } catch {
      // What is left after the last try fails at its host, which finds the call cancelled.
      if (attempt === REMOVAL_TRIES) return
      await new Promise((resolve) => setTimeout(resolve, REMOVAL_PAUSE_MS))
    }
  }
}
