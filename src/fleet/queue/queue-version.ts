import type { Queue } from 'bullmq'
import type { Redis } from 'ioredis'
import { ProtocolError } from '../../core/errors.ts'
import { version } from '../../core/version.ts'
import { FORMAT } from '../jobs/job-format.ts'
import { liveHosts } from './host-records.ts'
import type { QueueKeys } from './queue-keys.ts'

/** What the version key holds. */
const OWN = `heddle ${version}, format ${FORMAT}`

/**
 * Marks a queue with this version, or finds it so marked. All that use a queue have the same one: other kernels could
 * round otherwise. A queue of another version that has neither jobs nor hosts left is taken over.
 *
 * @throws {ProtocolError} when the queue belongs to another version
 */
export async function joinQueue(redis: Redis, queue: Queue, keys: QueueKeys): Promise<void> {
  await redis.setnx(keys.version, OWN)
  const found = await redis.get(keys.version)
  if (found === OWN) return
  const [jobs, hosts] = await Promise.all([
    queue.getJobCountByTypes('waiting', 'active', 'delayed', 'waiting-children'),
    liveHosts(redis, keys),
  ])
  if (jobs === 0 && hosts.length === 0) {
    await redis.set(keys.version, OWN)
    return
  }
  const left = `${jobs} unfinished job${jobs === 1 ? '' : 's'} and ${hosts.length} host${hosts.length === 1 ? '' : 's'}`
  throw new ProtocolError(
    `fleet: expected queue ${queue.name} of ${OWN}, got ${String(found)}, with ${left}; use one version everywhere, or another queue name`,
  )
}
