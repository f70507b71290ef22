import { realpath, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { createRuntime } from 'heddle'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { heddle } from '../cli/heddle.ts'
import { Random } from '../support/random.ts'
import { fingerprint, normalTensor } from '../support/tensors.ts'
import { FleetSite, until } from './support/fleet-site.ts'
import { HostProcess } from './support/host-process.ts'
import { hasRedis, RedisServer } from './support/redis-server.ts'

const random = new Random(903)
const [query, key, value] = [
  normalTensor(random, [1200, 32]),
  normalTensor(random, [6000, 32]),
  normalTensor(random, [6000, 32]),
]
const inputs = {
  query: { file: 'qkv.safetensors', name: 'q' },
  key: { file: 'qkv.safetensors', name: 'k' },
  value: { file: 'qkv.safetensors', name: 'v' },
}
/** One key range: then a runtime alone gives the same bits. */
const cut = { queryRows: 400, keyRows: 6000 }

describe.skipIf(!hasRedis)('hosts as processes', () => {
  let server: RedisServer
  let site: FleetSite
  let expected: string
  const hosts: HostProcess[] = []

  beforeAll(async () => {
    server = await RedisServer.start()
    const runtime = await createRuntime({ workers: 0, numerics: 'portable' })
    expected = fingerprint((await runtime.attention({ query, key, value })).output.data)
    await runtime.close()
  })
  afterAll(() => server.stop())
  beforeEach(async () => {
    site = await FleetSite.open(server)
    await site.write('qkv.safetensors', { q: query, k: key, v: value })
  })
  afterEach(async () => {
    await Promise.all(hosts.splice(0).map((host) => host.end()))
    await site.close()
  })
  const start = (...host: ConstructorParameters<typeof HostProcess>): HostProcess => {
    const started = new HostProcess(...host)
    hosts.push(started)
    return started
  }

  test('SIGKILL in the middle of a job: another host does it, the bits are right, nothing is lost', async () => {
    const victim = start(site, 'victim', (line, host) => line.includes(' started ') && host.kill('SIGKILL'))
    await victim.ready()
    const fleet = await site.fleet()
    const pending = fleet.attention(inputs, cut)
    await until('the job has begun', () => victim.jobOf('started') !== undefined)
    const heir = start(site, 'heir')
    const result = await pending
    expect(fingerprint((await result.rows(0, 1200)).output.data)).toBe(expected)
    expect(victim.jobOf('finished')).toBeUndefined()
    expect(heir.lines.some((line) => line.includes(`finished partial ${victim.jobOf('started')}`))).toBe(true)
    const { jobs } = await fleet.status()
    expect(jobs).toMatchObject({ waiting: 0, active: 0, waitingForOthers: 0, done: 7, failed: 0 })
  })

  test('SIGTERM: the host gives its job back and ends with status 0', async () => {
    const first = start(site, 'first', (line, host) => line.includes(' started ') && host.kill('SIGTERM'))
    await first.ready()
    const pending = (await site.fleet()).attention(inputs, cut)
    expect(await first.end('SIGTERM')).toBe(0)
    expect(first.lines.at(-1)).toMatch(/ closed$/)
    start(site, 'second')
    expect(fingerprint((await (await pending).rows(0, 1200)).output.data)).toBe(expected)
  })

  test('an embedder of the host: a module that it is given', async () => {
    await writeFile(
      path.join(site.folder, 'embedder.mjs'),
      `
      export const loadEmbedder = async (folder) => ({ embed: async (text) => ({ embedding: Float32Array.of(text.length, folder.length), tokens: 1 }) })`,
    )
    await site.store.write('model/any.txt', new Uint8Array(1))
    start(site, 'embeds', undefined, ['--embedder', path.join(site.folder, 'embedder.mjs')])
    const { value: result } = await (await site.fleet()).embed(['four'], { model: 'model' }).next()
    expect(result).toEqual({
      index: 0,
      embedding: Float32Array.of(4, path.join(await realpath(site.folder), 'model').length),
    })
    const { status, err } = await heddle([
      'fleet-worker',
      '--redis',
      server.url,
      '--data',
      site.folder,
      '--embedder',
      'none.mjs',
    ])
    expect([status, err]).toEqual([2, expect.stringContaining('--embedder: could not import none.mjs')])
  })

  test('fleet-status: one line per host, and Prometheus text', async () => {
    const host = start(site, 'alone')
    await host.ready()
    const { out, status } = await heddle(['fleet-status', '--redis', server.url, '--queue', site.queue])
    expect(status).toBe(0)
    expect(out).toMatch(
      new RegExp(
        `^queue ${site.queue}: 0 waiting, .*\\nalone  1 lane, 0 done, 0 failed, 0.0 tokens/s, 0 MiB held, idle\\n$`,
      ),
    )
    const text = (await heddle(['fleet-status', '--redis', server.url, '--queue', site.queue, '--prometheus'])).out
    expect(text).toContain(`heddle_fleet_hosts{queue="${site.queue}"} 1\n`)
  })

  test('arguments that do not fit, and a Redis that is not there', async () => {
    const [noStore, noRedis, unreachable] = await Promise.all([
      heddle(['fleet-worker', '--redis', server.url]),
      heddle(['fleet-worker', '--data', site.folder]),
      heddle(['fleet-status', '--redis', 'redis://127.0.0.1:1']),
    ])
    expect(noStore).toMatchObject({ status: 2, err: expect.stringContaining('--data DIR or --store URL') })
    expect(noRedis).toMatchObject({ status: 2, err: expect.stringContaining('HEDDLE_REDIS_URL') })
    expect(unreachable.status).toBe(1)
    expect(unreachable.err).toContain('BackendUnavailableError: fleet: expected Redis at redis://127.0.0.1:1 to answer')
  })
})
