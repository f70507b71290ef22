import { fleetStatusOf, formatFleetEvent, prometheusText, statusLines, type FleetStatus } from 'heddle/fleet'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { smallCut, smallInputs, writeSmall } from './support/fleet-problem.ts'
import { FleetSite, until } from './support/fleet-site.ts'
import { gatedStore } from './support/gated-store.ts'
import { hasRedis, RedisServer } from './support/redis-server.ts'

const host = { id: 'x', pid: 1, version: '0.1.0', startedAt: 0, failed: 0, job: null, lanes: 2, heldBytes: 3 * 2 ** 20 }
const status: FleetStatus = {
  queue: 'q',
  jobs: { waiting: 5, waitingForOthers: 3, active: 1, done: 40, failed: 2 },
  tokens: 900,
  tokensPerSecond: 30.25,
  hosts: [
    { ...host, name: 'a', done: 30, tokens: 600, tokensPerSecond: 20 },
    { ...host, name: 'longer', done: 10, tokens: 300, tokensPerSecond: 10.25, lanes: 1 },
  ],
}

describe('what a status looks like', () => {
  test('on a terminal', () => {
    expect(statusLines(status)).toEqual([
      'queue q: 5 waiting, 3 waiting for others, 1 active, 40 done, 2 failed, 30.3 tokens/s',
      'a       2 lanes, 30 done, 0 failed, 20.0 tokens/s, 3 MiB held, idle',
      'longer  1 lane, 10 done, 0 failed, 10.3 tokens/s, 3 MiB held, idle',
    ])
    expect(statusLines({ ...status, hosts: [] })[1]).toBe('no hosts')
  })

  test('for Prometheus', () => {
    const lines = prometheusText(status).split('\n')
    expect(lines.slice(0, 5)).toEqual([
      '# HELP heddle_fleet_jobs Jobs by state.',
      '# TYPE heddle_fleet_jobs gauge',
      'heddle_fleet_jobs{queue="q",state="waiting"} 5',
      'heddle_fleet_jobs{queue="q",state="waiting_for_others"} 3',
      'heddle_fleet_jobs{queue="q",state="active"} 1',
    ])
    expect(lines).toContain('heddle_fleet_host_jobs_done_total{queue="q",host="longer"} 10')
    for (const line of lines.filter((text) => text !== ''))
      expect(line).toMatch(/^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+\{([a-z]+="[^"]*",?)+\} [\d.]+)$/)
  })

  test('an event as a line', () => {
    const event = {
      time: '2026-11-27T08:00:00.000Z',
      host: 'a',
      event: 'failed',
      job: '17',
      kind: 'merge',
      elapsedMs: 12.6,
      detail: 'no',
    } as const
    expect(formatFleetEvent(event)).toBe('2026-11-27T08:00:00.000Z a failed merge 17 13 ms no')
    expect(formatFleetEvent({ time: 't', host: 'a', event: 'ready' })).toBe('t a ready')
  })
})

describe.skipIf(!hasRedis)('the status of a queue', () => {
  let server: RedisServer
  let site: FleetSite
  beforeAll(async () => {
    server = await RedisServer.start()
  })
  afterAll(() => server.stop())
  beforeEach(async () => {
    site = await FleetSite.open(server)
    await writeSmall(site)
  })
  afterEach(() => site.close())

  test('says what each host is doing, and counts what was done', async () => {
    const store = gatedStore(site.store, 'keys.safetensors')
    await site.host({ store, name: 'busy' })
    const fleet = await site.fleet({ store: site.store })
    const pending = fleet.attention(smallInputs, smallCut)
    await store.reached
    await until('the host has said so', async () => (await fleet.status()).hosts.some(({ job }) => job !== null))
    const during = await fleet.status()
    expect(during.jobs).toEqual({ waiting: 1, waitingForOthers: 3, active: 1, done: 0, failed: 0 })
    expect(during.hosts).toMatchObject([{ name: 'busy', lanes: 1, pid: process.pid, job: { kind: 'partial' } }])
    store.open()
    await pending
    const after = await fleetStatusOf({ connection: server.url, queue: site.queue })
    expect(after.jobs).toEqual({ waiting: 0, waitingForOthers: 0, active: 0, done: 5, failed: 0 })
    // Two batches of 150 rows.
    expect(after.tokens).toBe(300)
  })

  test('a host that ends is no longer listed', async () => {
    const worker = await site.host()
    expect((await fleetStatusOf({ connection: server.url, queue: site.queue })).hosts).toHaveLength(1)
    await worker.close()
    expect((await fleetStatusOf({ connection: server.url, queue: site.queue })).hosts).toHaveLength(0)
  })
})
