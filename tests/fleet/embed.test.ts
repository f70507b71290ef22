import { createRuntime } from 'heddle'
import { loadModel } from 'heddle/models'
import { startFleetWorker, type Fleet, type FleetDocument, type FleetEmbedResult } from 'heddle/fleet'
import { cp } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { ByteEncoder, loadByteEncoder } from './support/encoder-embedder.ts'
import { FleetSite, until } from './support/fleet-site.ts'
import { gatedStore } from './support/gated-store.ts'
import { hasRedis, RedisServer } from './support/redis-server.ts'

const MODEL_FOLDER = fileURLToPath(new URL('../../examples/document-search/tiny-model', import.meta.url))
const texts = Array.from({ length: 12 }, (_, index) => `document ${index} `.repeat(1 + (index % 4)))

describe.skipIf(!hasRedis)('fleet.embed', () => {
  let server: RedisServer
  let site: FleetSite
  let fleet: Fleet

  beforeAll(async () => {
    server = await RedisServer.start()
  })
  afterAll(() => server.stop())
  beforeEach(async () => {
    site = await FleetSite.open(server)
    await new ByteEncoder().save(site, 'models/bytes')
    fleet = await site.fleet()
  })
  afterEach(() => site.close())

  const host = () => site.host({ loadEmbedder: loadByteEncoder, models: path.join(site.folder, 'models') })
  const collect = async (
    documents: Iterable<FleetDocument> | AsyncIterable<FleetDocument>,
    inFlight = 5,
  ): Promise<FleetEmbedResult[]> => {
    const results: FleetEmbedResult[] = []
    for await (const result of fleet.embed(documents, { model: 'bytes', inFlight })) results.push(result)
    return results
  }

  test('the vectors of the model itself, in order, from two hosts', async () => {
    await Promise.all([host(), host()])
    const runtime = await createRuntime({ workers: 0, numerics: 'portable' })
    const alone = await loadByteEncoder(path.join(site.folder, 'models/bytes'), runtime)
    const results = await collect(texts)
    expect(results.map(({ index }) => index)).toEqual(texts.map((_, index) => index))
    for (const [index, { embedding }] of results.entries()) {
      const expected = await alone.embed(texts[index]!, { signal: new AbortController().signal })
      expect(embedding, `document ${index}`).toEqual(expected.embedding)
    }
    await runtime.close()
    expect((await fleet.status()).tokens).toBe(new Set(texts).size === texts.length ? texts.join('').length : NaN)
  })

  test('a folder of the hub: the vectors that heddle/models gives', async () => {
    await cp(MODEL_FOLDER, path.join(site.folder, 'models/hub'), { recursive: true })
    await site.host({ models: path.join(site.folder, 'models') })
    const runtime = await createRuntime({ workers: 0, numerics: 'portable' })
    const model = await loadModel(MODEL_FOLDER)
    const given = ['a whale', 'the sea, and the white whale']
    let index = 0
    for await (const { embedding, error } of fleet.embed(given, { model: 'hub', inFlight: 2 })) {
      expect(error).toBeUndefined()
      expect(embedding).toEqual((await model.embed(given[index++]!, { runtime })).embedding.data)
    }
    expect(index).toBe(2)
    await runtime.close()
  })

  test('errors of documents are results, and do not stop the rest', async () => {
    await host()
    await site.store.write('texts/broken.txt', Uint8Array.of(0xff, 0xfe))
    const documents = [
      'fine',
      'poison ☠',
      { file: 'texts/broken.txt' },
      { file: 'texts/missing.txt' },
      { file: '../outside.txt' },
      7 as never,
      'fine too',
    ]
    const results = await collect(documents)
    expect(results.map(({ error }) => error?.code)).toEqual([
      undefined,
      'FormatError',
      'FormatError',
      'StoreError',
      'OptionError',
      'OptionError',
      undefined,
    ])
    expect(results[1]?.error?.message).toMatch(/could not embed .*no token for ☠ \(host/)
  })

  test('a document that was embedded before is not computed again', async () => {
    await host()
    const first = await collect(['a text', 'another'])
    const events = site.events.length
    expect(await collect(['a text', 'another'])).toEqual(first)
    expect(
      site.events
        .slice(events)
        .map(({ event }) => event)
        .filter((event) => event !== 'started'),
    ).toEqual(['skipped', 'skipped'])
  })

  test('another model, another result', async () => {
    await host()
    await new ByteEncoder().save(site, 'models/other')
    await site.store.write('models/other/readme.txt', Uint8Array.of(65))
    for await (const { error } of fleet.embed(['a text'], { model: 'bytes' })) expect(error).toBeUndefined()
    for await (const { error } of fleet.embed(['a text'], { model: 'other' })) expect(error).toBeUndefined()
    expect(site.events.filter(({ event }) => event === 'finished')).toHaveLength(2)
  })

  test('back-pressure: documents are asked for only as results are taken', async () => {
    await host()
    let asked = 0
    const endless = (function* () {
      for (;;) yield `document ${asked++}`
    })()
    const results = fleet.embed(endless, { model: 'bytes', inFlight: 3 })
    expect(asked).toBe(0)
    for (let taken = 1; taken <= 6; taken++) {
      await results.next()
      expect(asked).toBe(taken + 2)
    }
    await results.return()
    await until('the rest is gone', async () => (await fleet.status()).jobs.waiting === 0)
    expect((endless as Iterator<string>).next().done, 'the source is ended').toBe(true)
  })

  test('an abort ends it, stops the running job and removes the others', async () => {
    const document = 'texts/gate.txt'
    await site.store.write(document, Uint8Array.of(65))
    const store = gatedStore(site.store, document)
    await site.host({ store, loadEmbedder: loadByteEncoder, models: path.join(site.folder, 'models') })
    const abort = new AbortController()
    const results = fleet.embed([{ file: document }, 'b', 'c'], { model: 'bytes', signal: abort.signal })
    const first = results.next()
    await store.reached
    abort.abort(new Error('enough'))
    await expect(first).rejects.toThrow('enough')
    await until('the host has stopped', () => site.events.some(({ detail }) => detail === 'cancelled'))
    await until('the rest is gone', async () => (await fleet.status()).jobs.waiting === 0)
  })

  test('a model that a host does not have, a host that has none, and options that do not fit', async () => {
    await host()
    const [missing] = await collectWith('absent')
    expect(missing?.error).toMatchObject({
      code: 'StoreError',
      message: expect.stringMatching(/a folder of the model absent, but the host has none \(host/),
    })
    expect(() => fleet.embed('text' as never, { model: 'bytes' })).toThrow(/iterable/)
    expect(() => fleet.embed([], { model: '../up' })).toThrow(/relative path/)
    expect(() => fleet.embed([], { model: 'bytes', inFlight: 0 })).toThrow(/inFlight/)
    await expect(
      startFleetWorker({ connection: server.url, store: site.store, loadEmbedder: 'module.js' as never }),
    ).rejects.toThrow(/a function/)
  })

  async function collectWith(model: string): Promise<FleetEmbedResult[]> {
    const results: FleetEmbedResult[] = []
    for await (const result of fleet.embed(['text'], { model })) results.push(result)
    return results
  }
})
