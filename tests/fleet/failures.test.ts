import type { HeddleError } from 'heddle'
import { createFleet, startFleetWorker, type FleetStore } from 'heddle/fleet'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { fingerprint } from '../support/tensors.ts'
import { smallBits, smallCut, smallInputs, writeSmall } from './support/fleet-problem.ts'
import { FleetSite, until } from './support/fleet-site.ts'
import { gatedStore } from './support/gated-store.ts'
import { freePort, hasRedis, RedisServer } from './support/redis-server.ts'

describe.skipIf(!hasRedis)('what fails', () => {
  let server: RedisServer
  let site: FleetSite
  let expected: string

  beforeAll(async () => {
    server = await RedisServer.start({ isDurable: true })
    expected = await smallBits()
  })
  afterAll(() => server.stop())
  beforeEach(async () => {
    site = await FleetSite.open(server)
    await writeSmall(site)
  })
  afterEach(() => site.close())

  const bitsOf = async (pending: ReturnType<Awaited<ReturnType<FleetSite['fleet']>>['attention']>): Promise<string> =>
    fingerprint((await (await pending).rows(0, 150)).output.data)

  test('Redis goes away in the middle of a job, as in a power cut, and comes back: the right bits', async () => {
    const store = gatedStore(site.store, 'keys.safetensors')
    await site.host({ store })
    const pending = bitsOf((await site.fleet({ store: site.store })).attention(smallInputs, smallCut))
    await store.reached
    await server.down()
    store.open()
    await until('the host has noticed', () => site.events.some(({ event }) => event === 'connection lost'))
    await server.up()
    expect(await pending).toBe(expected)
  })

  test('Redis goes away and stays away: a waiting call fails after lostAfterMs, and so does every other', async () => {
    const own = await RedisServer.start()
    const fleet = await createFleet({ connection: own.url, store: site.store, lostAfterMs: 200 })
    const pending = fleet.attention(smallInputs, smallCut)
    const documents = fleet.embed(['a text'], { model: 'some' }).next()
    await until('both wait', async () => (await fleet.status()).jobs.waiting === 3)
    await own.stop()
    await expect(pending).rejects.toMatchObject({
      code: 'BackendUnavailableError',
      message: expect.stringContaining('back within 200 ms'),
    })
    await expect(documents).rejects.toMatchObject({ code: 'BackendUnavailableError' })
    await fleet.close()
  })

  test('a host that is closed while Redis is away ends', async () => {
    const own = await RedisServer.start()
    const host = await startFleetWorker({
      connection: own.url,
      store: site.store,
      runtime: { workers: 0 },
      onEvent: (event) => site.events.push(event),
    })
    await own.stop()
    await until('the host has noticed', () => site.events.some(({ event }) => event === 'connection lost'))
    await host.close()
    expect(site.events.at(-1)).toMatchObject({ event: 'closed' })
  })

  test('no Redis at the address, or none that answers: an error within the time given', async () => {
    const connection = `redis://:secret@127.0.0.1:${await freePort()}`
    const error = await createFleet({ connection, store: site.store }).catch((reason: HeddleError) => reason)
    expect(error).toMatchObject({ code: 'BackendUnavailableError', message: expect.stringContaining('ECONNREFUSED') })
    expect((error as HeddleError).message).not.toContain('secret')
    await expect(startFleetWorker({ connection, store: site.store })).rejects.toMatchObject({
      code: 'BackendUnavailableError',
    })
  })

  test('a disk that is full once: the job is tried again', async () => {
    const store = fullDisk(site.store, 1)
    await site.host({ store })
    expect(await bitsOf((await site.fleet()).attention(smallInputs, smallCut))).toBe(expected)
    expect(site.events.filter(({ event }) => event === 'failed')).toHaveLength(1)
  })

  test('a disk that stays full: the call fails, says why, and leaves no jobs', async () => {
    await site.host({ store: fullDisk(site.store, Infinity) })
    const fleet = await site.fleet()
    await expect(fleet.attention(smallInputs, smallCut)).rejects.toMatchObject({
      code: 'StoreError',
      message: expect.stringMatching(/disk is full.*host/),
    })
    await until('the jobs are gone', async () => {
      const { jobs } = await fleet.status()
      return jobs.waiting + jobs.active + jobs.waitingForOthers === 0
    })
  })

  test('an abort rejects with its reason, stops the running job and removes the others', async () => {
    const store = gatedStore(site.store, 'keys.safetensors')
    await site.host({ store })
    const fleet = await site.fleet({ store: site.store })
    const abort = new AbortController()
    const pending = fleet.attention(smallInputs, { ...smallCut, signal: abort.signal })
    await store.reached
    abort.abort(new Error('enough'))
    await expect(pending).rejects.toThrow('enough')
    await until('the host has stopped', () =>
      site.events.some(({ event, detail }) => event === 'failed' && detail === 'cancelled'),
    )
    await until('the jobs are gone', async () => {
      const { jobs } = await fleet.status()
      return jobs.waiting + jobs.active + jobs.waitingForOthers === 0
    })
    store.open()
    expect(await bitsOf(fleet.attention(smallInputs, smallCut))).toBe(expected)
    await expect(fleet.attention(smallInputs, { ...smallCut, queryRows: 70, signal: abort.signal })).rejects.toThrow(
      'enough',
    )
  })

  test('a host that is stopped gives its job back, and another one does it', async () => {
    const store = gatedStore(site.store, 'keys.safetensors')
    const first = await site.host({ store, name: 'first' })
    const pending = bitsOf((await site.fleet({ store: site.store })).attention(smallInputs, smallCut))
    await store.reached
    const job = site.events.find(({ event }) => event === 'started')?.job
    await first.close({ giveBack: true })
    await site.host({ name: 'second' })
    expect(await pending).toBe(expected)
    expect(site.events).toContainEqual(expect.objectContaining({ host: 'first', event: 'returned', job }))
    expect(site.events).toContainEqual(expect.objectContaining({ host: 'second', event: 'finished', job }))
  })

  test('closing a fleet settles what waits; a closed fleet takes no calls', async () => {
    const fleet = await site.fleet()
    const pending = fleet.attention(smallInputs, smallCut)
    await until('it waits', async () => (await fleet.status()).jobs.waiting === 2)
    const closing = fleet.close()
    await expect(pending).rejects.toMatchObject({ code: 'RuntimeClosedError' })
    await closing
    await expect(fleet.attention(smallInputs, smallCut)).rejects.toMatchObject({ code: 'RuntimeClosedError' })
    await expect(fleet.status()).rejects.toMatchObject({ code: 'RuntimeClosedError' })
  })
})

/** A store in which the first writes find no room. */
function fullDisk(store: FleetStore, failures: number): FleetStore {
  let left = failures
  const noSpace = Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' })
  return {
    ...store,
    write: async (path, bytes) => {
      if (left-- > 0)
        throw new (await import('heddle')).StoreError(`store: could not write ${path}: ENOSPC, the disk is full`, {
          cause: noSpace,
        })
      return store.write(path, bytes)
    },
  }
}
