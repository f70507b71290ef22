import type { Redis } from 'ioredis'
import type { FleetStore } from 'heddle/fleet'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { claimRange, type Claim } from '../../src/fleet/host/claim-range.ts'
import { queueKeys } from '../../src/fleet/queue/queue-keys.ts'
import { Random } from '../support/random.ts'
import { normalTensor } from '../support/tensors.ts'
import { FleetSite } from './support/fleet-site.ts'
import { hasRedis, RedisServer } from './support/redis-server.ts'

describe.skipIf(!hasRedis)('which host gets what', () => {
  let server: RedisServer
  let redis: Redis
  beforeAll(async () => {
    server = await RedisServer.start()
    redis = server.client()
  })
  afterAll(async () => {
    redis.disconnect()
    await server.stop()
  })

  const ranges = [0, 1, 2, 3].map((index) => ({ start: index * 10, end: index * 10 + 10 }))
  const keys = queueKeys('claims')
  const claim = (call: string, job: string, extra: Partial<Claim> = {}) =>
    claimRange(redis, keys, { call, chunk: 0, job, ranges, holds: () => false, firstChoice: 0, ...extra })

  test('each range once, the held ones first, and the same one at every try', async () => {
    expect(await claim('a', 'first', { holds: ({ start }) => start === 20 })).toEqual(ranges[2])
    expect(await claim('a', 'second', { holds: ({ start }) => start === 20, firstChoice: 3 })).toEqual(ranges[3])
    expect(await claim('a', 'first')).toEqual(ranges[2])
    expect(await claim('a', 'third')).toEqual(ranges[0])
    expect(await claim('a', 'fourth')).toEqual(ranges[1])
    expect(await claim('a', 'fifth')).toBeUndefined()
    expect(await redis.ttl(keys.claims('a', 0))).toBeGreaterThan(3600)
  })

  test('many at once: no range is taken twice', async () => {
    const taken = await Promise.all(['p', 'q', 'r', 's'].map((job) => claim('b', job)))
    expect(new Set(taken.map((range) => range?.start)).size).toBe(4)
  })

  test('two hosts that hold what they read: each key range is read about once, not once per query chunk', async () => {
    const site = await FleetSite.open(server)
    const random = new Random(905)
    await site.write('q.safetensors', { q: normalTensor(random, [320, 8]) })
    await site.write('kv.safetensors', { k: normalTensor(random, [400, 8]), v: normalTensor(random, [400, 8]) })
    let bytes = 0
    const counted: FleetStore = {
      ...site.store,
      read: (file, start, end, signal) => {
        if (file === 'kv.safetensors' && end - start >= 100 * 8 * 4) bytes += end - start
        return site.store.read(file, start, end, signal)
      },
    }
    await Promise.all([site.host({ store: counted }), site.host({ store: counted })])
    const stored = (file: string, name: string) => ({ file, name })
    await (
      await site.fleet()
    ).attention(
      { query: stored('q.safetensors', 'q'), key: stored('kv.safetensors', 'k'), value: stored('kv.safetensors', 'v') },
      { queryRows: 32, keyRows: 100 },
    )
    await site.close()
    const all = 2 * 400 * 8 * 4
    expect(bytes).toBeGreaterThanOrEqual(all)
    // Ten chunks see all of it. Two hosts that held nothing would read it ten times; at worst each reads each range
    // once.
    expect(bytes).toBeLessThanOrEqual(2 * all)
  })

  test('a host that may hold nothing reads again for each job', async () => {
    const site = await FleetSite.open(server)
    const random = new Random(906)
    await site.write('x.safetensors', { x: normalTensor(random, [128, 8]) })
    let reads = 0
    const counted: FleetStore = {
      ...site.store,
      read: (file, start, end, signal) =>
        site.store.read(file, start, end, signal).finally(() => (reads += end - start === 128 * 8 * 4 ? 1 : 0)),
    }
    await site.host({ store: counted, heldBytes: 0 })
    const x = { file: 'x.safetensors', name: 'x' }
    await (await site.fleet()).attention({ query: x, key: x, value: x }, { queryRows: 64, keyRows: 128 })
    expect(reads).toBe(4)
    await site.close()
  })
})
