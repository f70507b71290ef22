import type { Redis } from 'ioredis'
import type { FleetJob } from '../jobs/job-format.ts'
import type { QueueKeys } from './queue-keys.ts'

/** What a host says about itself, every few seconds. */
export interface HostRecord {
  /** unlike that of every other host */
  readonly id: string
  /** the host's name */
  readonly name: string
  /** number of its process */
  readonly pid: number
  /** of Heddle */
  readonly version: string
  /** lanes of its runtime */
  readonly lanes: number
  /** milliseconds since 1970 */
  readonly startedAt: number
  /** jobs finished and failed since it started */
  readonly done: number
  /** jobs failed since it started */
  readonly failed: number
  /** Document tokens and merged query rows since it started. */
  readonly tokens: number
  /** over the last minute */
  readonly tokensPerSecond: number
  /** of keys and values */
  readonly heldBytes: number
  /** what it is working on */
  readonly job: {
    /** the job's id */
    readonly id: string
    /** what kind of job it is */
    readonly kind: FleetJob['kind']
    /** when it began, in milliseconds since 1970 */
    readonly since: number
  } | null
}

export const RECORD_EVERY_MS = 3000
/** A host that has not said anything for so long counts as gone. */
const RECORD_LIVES_MS = 12_000

export async function writeHostRecord(redis: Redis, keys: QueueKeys, record: HostRecord): Promise<void> {
  await redis
    .multi()
    .sadd(keys.hosts, record.id)
    .set(keys.host(record.id), JSON.stringify(record), 'PX', RECORD_LIVES_MS)
    .exec()
}

export async function removeHostRecord(redis: Redis, keys: QueueKeys, id: string): Promise<void> {
  await redis.multi().srem(keys.hosts, id).del(keys.host(id)).exec()
}

/** The hosts that have been heard of lately, by name; forgets the others. */
export async function liveHosts(redis: Redis, keys: QueueKeys): Promise<HostRecord[]> {
  const ids = await redis.smembers(keys.hosts)
  if (ids.length === 0) return []
  const records = await redis.mget(ids.map((id) => keys.host(id)))
  const gone = ids.filter((_, index) => records[index] === null)
  if (gone.length > 0) await redis.srem(keys.hosts, ...gone)
  const live = records
    .filter((record): record is string => record !== null)
    .map((record) => JSON.parse(record) as HostRecord)
  return live.sort((a, b) => (a.name < b.name ? -1 : 1))
}
