import type { Queue } from 'bullmq'
import type { Redis } from 'ioredis'
import { liveHosts, type HostRecord } from '../queue/host-records.ts'
import type { QueueKeys } from '../queue/queue-keys.ts'

/** A queue and its hosts at one moment. */
export interface FleetStatus {
  readonly queue: string
  readonly jobs: {
    /** ready for a host, or about to be tried again */
    readonly waiting: number
    /** that wait for other jobs of their call */
    readonly waitingForOthers: number
    readonly active: number
    /** since the queue was made; a job that failed and is tried again counts each time */
    readonly done: number
    readonly failed: number
  }
  /** Document tokens and merged query rows since the queue was made. */
  readonly tokens: number
  /** of all hosts, over the last minute */
  readonly tokensPerSecond: number
  /** by name */
  readonly hosts: readonly HostRecord[]
}

export async function fleetStatus({ redis, keys, queue }: { readonly redis: Redis; readonly keys: QueueKeys; readonly queue: Queue }): Promise<FleetStatus> {
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
