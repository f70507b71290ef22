import type { Worker } from 'node:worker_threads'
import { OptionError, type Tensor } from 'heddle'
import { KeyValueCache, MultiHeadAttention } from 'heddle/nn'
import { describe, expect, it, test } from 'vitest'
import { Random } from '../support/random.ts'
import { allLanes, useRuntime, withRuntime, WorkerCrew } from '../support/runtimes.ts'
import { fingerprint, normalTensor } from '../support/tensors.ts'

const pools = {
  'the calling thread': useRuntime({ workers: 0 }),
  'two workers': useRuntime({ workers: 2 }),
  'two workers without shared memory': useRuntime({ workers: 2, sharedMemory: 'never' }),
}
const [B, E, H] = [2, 16, 4]
const layer = new MultiHeadAttention({ modelDim: E, heads: H, rotary: true, seed: 6 })
const newCache = (capacity: number) => new KeyValueCache({ batch: B, keyValueHeads: H, capacity, headSize: E / H })
const rows = (count: number, seed: number): Tensor => normalTensor(new Random(seed), [B, count, E])
const bits = (results: readonly { readonly output: Tensor }[]) => results.map(({ output }) => fingerprint(output.data))

describe.each(Object.entries(pools))('calls at once on one cache, on %s', (_where, runtime) => {
  const options = () => ({ runtime: runtime(), causal: true, chunkSize: 4 })
  const parts = [rows(7, 1), rows(1, 2), rows(12, 3), rows(5, 4)]

  async function oneByOne(given: readonly Tensor[]): Promise<string[]> {
    const cache = newCache(30)
    const results = []
    for (const part of given) results.push(await layer.forward(part, { ...options(), cache }))
    return bits(results)
  }

  it('give what calls one after the other give', async () => {
    const cache = newCache(25)
    const results = Promise.all(parts.map((part) => layer.forward(part, { ...options(), cache })))
    expect(cache.length).toBe(0)
    expect(bits(await results)).toEqual(await oneByOne(parts))
    expect(cache.length).toBe(25)
  })

  it('are refused when they are made if those before them leave no room', async () => {
    const cache = newCache(25)
    const first = layer.forward(rows(20, 5), { ...options(), cache })
    const second = layer.forward(rows(20, 6), { ...options(), cache })
    const third = layer.forward(rows(5, 7), { ...options(), cache })
    await expect(second).rejects.toThrow(OptionError)
    await expect(second).rejects.toThrow(
      /room for 20 rows in the cache, got 20 of 25 taken, 20 of them by calls under way/,
    )
    expect(bits([await first, await third])).toEqual(await oneByOne([rows(20, 5), rows(5, 7)]))
    expect(cache.length).toBe(25)
  })

  it('go on as if a call that is aborted had never been made', async () => {
    const cache = newCache(30)
    const [running, waiting] = [new AbortController(), new AbortController()]
    const first = layer.forward(parts[0]!, { ...options(), cache })
    const second = layer.forward(rows(6, 8), { ...options(), cache, signal: running.signal })
    const third = layer.forward(rows(2, 9), { ...options(), cache, signal: waiting.signal })
    const fourth = layer.forward(parts[2]!, { ...options(), cache })
    // Before its turn: it does not wait for those before it.
    let firstOver = false
    const over = first.then(() => (firstOver = true))
    waiting.abort(new Error('no longer wanted'))
    await expect(third).rejects.toThrow('no longer wanted')
    expect(firstOver).toBe(false)
    await over
    // Its turn has begun, or begins now.
    running.abort(new Error('enough'))
    await expect(second).rejects.toThrow('enough')
    expect(bits([await first, await fourth])).toEqual(await oneByOne([parts[0]!, parts[2]!]))
    expect(cache.length).toBe(19)
  })

  it('leave no trace of a call whose options do not fit', async () => {
    const cache = newCache(30)
    const first = layer.forward(parts[0]!, { ...options(), cache })
    const mask = { data: new Uint8Array(5 * 8), shape: [5, 8] }
    await expect(layer.forward(parts[3]!, { ...options(), cache, mask })).rejects.toMatchObject({ code: 'ShapeError' })
    const third = layer.forward(parts[3]!, {
      ...options(),
      cache,
      mask: { data: new Uint8Array(5 * 12).fill(1), shape: [5, 12] },
    })
    expect(bits([await first, await third])).toEqual(await oneByOne([parts[0]!, parts[3]!]))
    expect(cache.length).toBe(12)
  })

  it('keep truncate waiting for the caller', async () => {
    const cache = newCache(30)
    await layer.forward(parts[0]!, { ...options(), cache })
    const pending = layer.forward(parts[1]!, { ...options(), cache })
    expect(() => cache.truncate(3)).toThrow(OptionError)
    expect(() => cache.truncate(3)).toThrow(/between calls, got it while 1 were under way/)
    await pending
    cache.truncate(3)
    expect(cache.length).toBe(3)
  })
})

test('a lane that was given up writes to a memory that the cache has left', async () => {
  await withRuntime({ workers: 2 }, async (runtime) => {
    const cache = newCache(2000)
    const options = { runtime, causal: true, chunkSize: 64, cache }
    await layer.forward(rows(100, 11), options)
    const [before, held] = [cache.memory.key, cache.memory.key.slice()]
    const controller = new AbortController()
    // Aborted after its first stage, which wrote keys and values.
    const trace = () => controller.abort(new Error('enough'))
    const aborted = layer.forward(rows(1800, 12), { ...options, signal: controller.signal, trace })
    await expect(aborted).rejects.toThrow('enough')
    expect(cache.length).toBe(100)
    const { output } = await layer.forward(rows(50, 13), options)
    expect(cache.memory.key).not.toBe(before)
    // Head by head, what it held is there.
    const perHead = 2000 * (E / H)
    for (let head = 0; head < B * H; head++)
      expect(cache.memory.key.slice(head * perHead, head * perHead + 100 * (E / H))).toEqual(
        held.slice(head * perHead, head * perHead + 100 * (E / H)),
      )
    const fresh = newCache(2000)
    await layer.forward(rows(100, 11), { ...options, cache: fresh })
    const memory = fresh.memory.key
    const expected = await layer.forward(rows(50, 13), { ...options, cache: fresh })
    expect(fresh.memory.key).toBe(memory)
    expect(bits([{ output }])).toEqual(bits([expected]))
  })
})

test('a worker that dies while a cache is written costs no bits', async () => {
  const crew = new WorkerCrew()
  const workerFactory = (): Worker => {
    const worker = crew.workerFactory()
    if (crew.workers.length > 1) return worker
    let messages = 0
    const post = worker.postMessage.bind(worker)
    worker.postMessage = (...message: Parameters<Worker['postMessage']>) => {
      post(...message)
      if (++messages === 2) void worker.terminate()
    }
    return worker
  }
  const run = async (runtime: Parameters<Parameters<typeof withRuntime>[1]>[0]) => {
    await allLanes(runtime)
    const cache = newCache(500)
    const options = { runtime, causal: true, chunkSize: 64, cache }
    const results = await Promise.all([rows(300, 21), rows(150, 22)].map((part) => layer.forward(part, options)))
    return { bits: bits(results), retries: results.map(({ report }) => report.retries) }
  }
  const expected = await withRuntime({ workers: 1 }, run)
  const found = await withRuntime({ workers: 2, workerFactory }, run)
  expect(found.retries[0]).toBeGreaterThan(0)
  expect(found.bits).toEqual(expected.bits)
})
