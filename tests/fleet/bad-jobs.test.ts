import { Queue } from 'bullmq'
import { createFleet, startFleetWorker } from 'heddle/fleet'
import { symlink, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { smallBits, smallCut, smallInputs, writeSmall } from './support/fleet-problem.ts'
import { FleetSite, until } from './support/fleet-site.ts'
import { gatedStore } from './support/gated-store.ts'
import { fingerprint } from '../support/tensors.ts'
import { hasRedis, RedisServer } from './support/redis-server.ts'

describe.skipIf(!hasRedis)('what does not fit', () => {
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

  /** Puts data into the queue as anyone who can write to Redis could. @returns what the host said */
  const failureOf = async (data: unknown): Promise<string> => {
    const client = server.client()
    const queue = new Queue(site.queue, { connection: client, prefix: 'heddle' })
    const { id } = await queue.add('partial', data, { attempts: 3 })
    await until('the job has failed', async () => (await (await queue.getJob(id ?? ''))?.getState()) === 'failed')
    const { failedReason = '', attemptsMade = 0 } = (await queue.getJob(id ?? '')) ?? {}
    await queue.close()
    client.disconnect()
    expect(attemptsMade, 'no second try').toBe(1)
    return failedReason
  }

  /** A job as the asking side makes it, out of the queue. */
  const realJob = async (): Promise<Record<string, unknown>> => {
    const fleet = await site.fleet()
    const abort = new AbortController()
    const pending = fleet.attention(smallInputs, { ...smallCut, signal: abort.signal })
    const client = server.client()
    const queue = new Queue(site.queue, { connection: client, prefix: 'heddle' })
    await until('jobs wait', async () => (await queue.getWaitingCount()) === 2)
    const [job] = await queue.getWaiting()
    abort.abort()
    await expect(pending).rejects.toThrow()
    await until('they are gone', async () => (await queue.getWaitingCount()) === 0)
    await queue.close()
    client.disconnect()
    return { ...(job?.data as Record<string, unknown>), call: 'made-by-hand' }
  }

  test('jobs that are made by hand fail at once, with what was wrong', async () => {
    const job = await realJob()
    const attention = job['attention'] as Record<string, Record<string, unknown>>
    await site.host({ name: 'careful' })
    const withKey = (key: Record<string, unknown>) => ({
      ...job,
      attention: { ...attention, key: { ...attention['key'], ...key } },
    })
    expect(await failureOf('no object')).toMatch(/^ProtocolError: .*got heddle undefined.*\(host careful\)$/)
    expect(await failureOf({ ...job, heddle: '99.0.0' })).toMatch(
      /^ProtocolError: fleet: expected a job of heddle \S+, format 1, got heddle 99.0.0/,
    )
    expect(await failureOf({ ...job, kind: 'eval' })).toMatch(/^OptionError: fleet: kind of a job: expected "partial"/)
    expect(await failureOf({ ...job, code: 'process.exit()' })).toMatch(
      /^OptionError: fleet: partial job: expected names among/,
    )
    expect(await failureOf({ ...job, chunk: 2 })).toMatch(/^OptionError: fleet: chunk: expected an integer from 0 to 1/)
    expect(await failureOf(withKey({ file: '../../etc/passwd' }))).toMatch(
      /^OptionError: fleet: key.file: expected a relative path/,
    )
    expect(await failureOf(withKey({ file: '/etc/passwd' }))).toMatch(/^OptionError: fleet: key.file/)
    expect(await failureOf(withKey({ name: 'w' }))).toMatch(
      /^OptionError: store: expected a tensor "w" in keys.safetensors, which has k, v/,
    )
    expect(await failureOf(withKey({ tag: 'another' }))).toMatch(
      /^ProtocolError: store: expected keys.safetensors with tag another/,
    )
  })

  test('bad input to fleet.attention fails before a job is made', async () => {
    const fleet = await site.fleet()
    await site.store.write('numbers.safetensors', integers())
    await writeFile(path.join(site.folder, 'text.safetensors'), 'this is no safetensors file')
    const key = (stored: unknown) => fleet.attention({ ...smallInputs, key: stored as never })
    await expect(key({ file: '../k', name: 'k' })).rejects.toMatchObject({ code: 'OptionError' })
    await expect(key({ file: 'missing.safetensors', name: 'k' })).rejects.toMatchObject({ code: 'StoreError' })
    await expect(key({ file: 'keys.safetensors', name: 'other' })).rejects.toMatchObject({ code: 'OptionError' })
    await expect(key({ file: 'numbers.safetensors', name: 'k' })).rejects.toMatchObject({ code: 'FormatError' })
    await expect(key({ file: 'text.safetensors', name: 'k' })).rejects.toMatchObject({ code: 'FormatError' })
    await expect(key({ file: 'query.safetensors', name: 'q' })).rejects.toMatchObject({ code: 'ShapeError' })
    await expect(fleet.attention(smallInputs, { alibiSlopes: Float32Array.of(1, 2, 3) })).rejects.toMatchObject({
      code: 'ShapeError',
    })
    for (const [keyLengths, code] of [
      [Int32Array.of(1), 'ShapeError'],
      [Int32Array.of(1, 401), 'OptionError'],
      [Int32Array.of(-1, 2), 'OptionError'],
      [[1, 2], 'OptionError'],
    ] as const)
      await expect(fleet.attention(smallInputs, { keyLengths } as never)).rejects.toMatchObject({ code })
    await expect(fleet.attention(smallInputs, { dropout: 0.5 } as never)).rejects.toMatchObject({ code: 'OptionError' })
    await expect(fleet.attention(smallInputs, { queryRows: 0 })).rejects.toMatchObject({ code: 'OptionError' })
    await expect(fleet.attention(smallInputs, { softcap: -1 })).rejects.toMatchObject({ code: 'OptionError' })
    await expect(fleet.attention(smallInputs, { causal: 1 } as never)).rejects.toMatchObject({ code: 'OptionError' })
    expect((await fleet.status()).jobs.waiting).toBe(0)
  })

  test('more jobs than one flow holds are refused', async () => {
    await site.write('long.safetensors', { q: { data: new Float32Array(60_000), shape: [60_000, 1] } })
    const long = { file: 'long.safetensors', name: 'q' }
    await expect(
      (await site.fleet()).attention({ query: long, key: long, value: long }, { queryRows: 1, keyRows: 1024 }),
    ).rejects.toThrow(/at most 100000 jobs/)
  })

  test('a file that changes during a call ends the call', async () => {
    const store = gatedStore(site.store, 'query.safetensors')
    await site.host({ store })
    const pending = (await site.fleet({ store: site.store })).attention(smallInputs, smallCut)
    const outcome = expect(pending).rejects.toMatchObject({
      code: 'ProtocolError',
      message: expect.stringContaining('changed since the call'),
    })
    await store.reached
    await site.write('keys.safetensors', {
      k: { data: new Float32Array(32), shape: [2, 1, 16] },
      v: { data: new Float32Array(32), shape: [2, 1, 16] },
    })
    store.open()
    await outcome
  })

  test('a queue of another version is refused while it has hosts or jobs, and taken over when it has none', async () => {
    const client = server.client()
    const version = `heddle-fleet:${site.queue}:version`
    const fleet = await site.fleet()
    const abort = new AbortController()
    const pending = fleet.attention(smallInputs, { ...smallCut, signal: abort.signal })
    await until('it waits', async () => (await fleet.status()).jobs.waiting === 2)
    await client.set(version, 'heddle 99.0.0, format 7')
    const options = { connection: server.url, queue: site.queue, store: site.store }
    await expect(createFleet(options)).rejects.toMatchObject({
      code: 'ProtocolError',
      message: expect.stringContaining('got heddle 99.0.0, format 7, with 5 unfinished jobs and 0 hosts'),
    })
    await expect(startFleetWorker({ ...options, runtime: { workers: 0 } })).rejects.toMatchObject({
      code: 'ProtocolError',
    })
    abort.abort()
    await expect(pending).rejects.toThrow()
    await until('they are gone', async () => (await fleet.status()).jobs.waitingForOthers === 0)
    await site.host()
    expect(await client.get(version)).not.toContain('99.0.0')
    client.disconnect()
    const result = await fleet.attention(smallInputs, smallCut)
    expect(fingerprint((await result.rows(0, 150)).output.data)).toBe(await smallBits())
  })

  test('options that do not fit', async () => {
    const { url } = server
    const { store } = site
    await expect(createFleet({ connection: 'localhost', store })).rejects.toMatchObject({ code: 'OptionError' })
    await expect(createFleet({ connection: url, store: {} as never })).rejects.toMatchObject({ code: 'OptionError' })
    await expect(createFleet({ connection: url, store, queue: 'a:b' })).rejects.toMatchObject({ code: 'OptionError' })
    await expect(createFleet({ connection: url, stor: store } as never)).rejects.toThrow(/did you mean store/)
    await expect(startFleetWorker({ connection: url, store, runtime: { numerics: 'fast' } as never })).rejects.toThrow(
      /portable/,
    )
    await expect(startFleetWorker({ connection: url, store, lockMs: 1 })).rejects.toMatchObject({ code: 'OptionError' })
    await expect(startFleetWorker({ connection: url, store, name: 'two words' })).rejects.toMatchObject({
      code: 'OptionError',
    })
  })

  test('a link that leads out of the data folder is refused', async () => {
    await symlink(os.tmpdir(), path.join(site.folder, 'out'))
    await expect(site.store.read('out/anything', 0, 1)).rejects.toMatchObject({ code: 'StoreError' })
    await symlink('/etc/hostname', path.join(site.folder, 'file'))
    await expect(site.store.read('file', 0, 1)).rejects.toThrow(/leads out/)
    await expect(site.store.write('out/new', new Uint8Array(1))).rejects.toThrow(/leads out/)
    await expect(site.store.stat('out/../../x')).rejects.toMatchObject({ code: 'OptionError' })
  })
})

function integers(): Uint8Array {
  const header = new TextEncoder().encode(
    JSON.stringify({ k: { dtype: 'I32', shape: [2, 400, 16], data_offsets: [0, 2 * 400 * 16 * 4] } }).padEnd(80),
  )
  const file = new Uint8Array(8 + header.length + 2 * 400 * 16 * 4)
  file[0] = header.length
  file.set(header, 8)
  return file
}
