import type { Queue } from 'bullmq'
import type { Redis } from 'ioredis'
import { checkNames } from '../../core/check.ts'
import { connect } from '../queue/connect.ts'
import { resolveQueueOptions, type QueueOptions } from '../queue/fleet-options.ts'
import { liveHosts, type HostRecord } from '../queue/host-records.ts'
import { loadPeers } from '../queue/load-peers.ts'
import { BULLMQ_PREFIX, queueKeys, type QueueKeys } from '../queue/queue-keys.ts'
import { joinQueue } from '../queue/queue-version.ts'

/** A queue and its hosts at one moment. */
export interface FleetStatus {
  /** the queue's name */
  readonly queue: string
  /** how many jobs there are, by their state */
  readonly jobs: {
    /** ready for a host, or about to be tried again */
    readonly waiting: number
    /** that wait for other jobs of their call */
    readonly waitingForOthers: number
    /** jobs that a host is working on */
    readonly active: number
    /** since the queue was made; a job that failed and is tried again counts each time */
    readonly done: number
    /** jobs that failed since the queue was made */
    readonly failed: number
  }
  /** Document tokens and merged query rows since the queue was made. */
  readonly tokens: number
  /** of all hosts, over the last minute */
  readonly tokensPerSecond: number
  /** by name */
  readonly hosts: readonly HostRecord[]
}

/**
 * The status of a queue. Unlike `fleet.status()`, it needs no store.
 *
 * @throws {OptionError} {BackendUnavailableError} {ProtocolError} as `createFleet` does
 *
 * @example
 * ```ts
 * import { fleetStatusOf, statusLines } from 'heddle/fleet'
 *
 * const status = await fleetStatusOf({ connection: 'redis://localhost:6379' })
 * console.log(statusLines(status).join('\n'))
 * ```
 */
export async function fleetStatusOf(options: QueueOptions): Promise<FleetStatus> {
  options = checkNames('fleetStatusOf: options', options, ['connection', 'queue', 'connectTimeoutMs'])
  const resolved = resolveQueueOptions('fleetStatusOf', options)
  const { bullmq, ioredis } = await loadPeers()
  const redis = await connect(ioredis, resolved)
  const keys = queueKeys(resolved.queue)
  try {
    const queue = new bullmq.Queue(resolved.queue, { connection: redis, prefix: BULLMQ_PREFIX })
    await joinQueue(redis, queue, keys)
    return await fleetStatus({ redis, keys, queue })
  } finally {
    redis.disconnect()
  }
}

export async function fleetStatus({
  redis,
  keys,
  queue,
}: {
  readonly redis: Redis
  readonly keys: QueueKeys
  readonly queue: Queue
}): Promise<FleetStatus> {
  const [counts, totals, hosts] = await Promise.all([
    queue.getJobCounts('waiting', 'delayed', 'active', 'waiting-children'),
    redis.hgetall(keys.totals),
    liveHosts(redis, keys),
  ])
  const total = (name: string): number => Number(totals[name] ?? 0)
  return {
    queue: queue.name,
    jobs: {
      waiting: (counts['waiting'] ?? 0) + (counts['delayed'] ?? 0),
      waitingForOthers: counts['waiting-children'] ?? 0,
      active: counts['active'] ?? 0,
      done: total('done'),
      failed: total('failed'),
    },
    tokens: total('tokens'),
    tokensPerSecond: hosts.reduce((sum, { tokensPerSecond }) => sum + tokensPerSecond, 0),
    hosts,
  }
}
