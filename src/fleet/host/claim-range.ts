import type { Redis } from 'ioredis'
import type { QueueKeys } from '../queue/queue-keys.ts'
import type { RowRange } from '../store/stored-tensor.ts'

/**
 * Longer than any call waits between two jobs of a chunk; a claim that was forgotten costs a range that is computed
 * twice.
 */
const CLAIM_SECONDS = 24 * 3600

export interface Claim {
  readonly call: string
  readonly chunk: number
  readonly job: string
  /** those that the chunk sees, in key order */
  readonly ranges: readonly RowRange[]
  /** whether the host has the keys and values of a range in memory */
  readonly holds: (range: RowRange) => boolean
  /** where a host that has nothing begins to look, so that hosts begin at different ranges */
  readonly firstChoice: number
}

/**
 * Takes one of a chunk's key ranges for a partial: the one it took at an earlier try, or else a free one, preferably
 * one whose keys and values the host holds. A chunk has as many partials as ranges, so there is one for each.
 *
 * @returns undefined when all are taken: then an earlier run of this job was counted as lost, and others did its part
 */
export async function claimRange(redis: Redis, keys: QueueKeys, claim: Claim): Promise<RowRange | undefined> {
  const key = keys.claims(claim.call, claim.chunk)
  const taken = await redis.hgetall(key)
  const own = Object.entries(taken).find(([, job]) => job === claim.job)
  if (own !== undefined) return claim.ranges[Number(own[0])]
  for (const index of preferredOrder(claim)) {
    if (taken[index] !== undefined || (await redis.hsetnx(key, String(index), claim.job)) === 0) continue
    await redis.expire(key, CLAIM_SECONDS)
    return claim.ranges[index]
  }
  return undefined
}

function preferredOrder({ ranges, holds, firstChoice }: Claim): number[] {
  const all = ranges.map((_, index) => (index + firstChoice) % ranges.length)
  const isHeld = (index: number): boolean => ranges[index] !== undefined && holds(ranges[index])
  return [...all.filter(isHeld), ...all.filter((index) => !isHeld(index))]
}
