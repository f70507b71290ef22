import { describe, expect, test } from 'vitest'
import { Random } from '../support/random.ts'
import { allLanes, turns, useRuntime } from '../support/runtimes.ts'
import { filled, fingerprint, normalTensor } from '../support/tensors.ts'

const runtimes = { 'on the calling thread': useRuntime({ workers: 0 }), 'on two workers': useRuntime({ workers: 2 }) }
const small = normalTensor(new Random(131), [16, 8])
const smallCall = { query: small, key: small, value: small }
// Several seconds of work for one core, so that an abort always comes in the middle.
const n = 16384
const large = filled([2, n, 64], (at) => Math.sin(at))
const largeCall = { query: large, key: large, value: large }
// Each head takes one core more than a minute: a test that had to wait for a task of it would time out.
const endless = filled([2, 2 ** 18, 8], (at) => (at % 7) / 7)
const endlessCall = { query: endless, key: endless, value: endless }
// More work than may run beside another call's task: it waits until the lane has left that one.
const next = filled([3000, 64], (at) => (at % 5) / 5)
const nextCall = { query: next, key: next, value: next }

/** Rejections carry anything; a test needs to look at it. */
function failureOf(call: Promise<unknown>): Promise<unknown> {
  return call.then(
    () => 'no failure',
    (reason: unknown) => reason,
  )
}

describe.each(Object.entries(runtimes))('%s', (_, runtime) => {
  test.each([new Error('mine'), 'a string', { any: 'object' }])(
    'a signal that is already aborted rejects with its reason: %o',
    async (reason) => {
      const out = { data: new Float32Array(16 * 8).fill(5), shape: [16, 8] }
      expect(await failureOf(runtime().attention(smallCall, { signal: AbortSignal.abort(reason), out }))).toBe(reason)
      expect(out.data.every((x) => x === 5)).toBe(true)
    },
  )

  test('without a reason of its own it is an AbortError', async () => {
    expect(await failureOf(runtime().attention(smallCall, { signal: AbortSignal.abort() }))).toMatchObject({
      name: 'AbortError',
    })
  })

  test.each(['chunked', 'standard'] as const)(
    'in flight, %s: rejects before the event loop goes round, and nothing is written afterwards',
    async (mode) => {
      const controller = new AbortController()
      const reason = new Error('stop')
      const rows = mode === 'standard' ? 2048 : n
      const query = { data: large.data.subarray(0, 2 * rows * 64), shape: [2, rows, 64] }
      const out = { data: new Float32Array(2 * rows * 64).fill(NaN), shape: [2, rows, 64] }
      const seen: unknown[] = []
      const onChunk = () => {
        if (seen.length === 0) setImmediate(() => seen.push('turn'))
        seen.push('chunk')
        controller.abort(reason)
      }
      const options = { mode, signal: controller.signal, out, chunkSize: 64, onChunk }
      const failure = failureOf(runtime().attention({ query, key: large, value: large }, options))
      void failure.then((found) => seen.push(found))
      expect(await failure).toBe(reason)
      const after = fingerprint(out.data)
      // A later call runs on the same lanes: when it is done, every message of the aborted one has been handled.
      for (let call = 0; call < 5; call++) await runtime().attention(smallCall, { chunkSize: 4 })
      expect(fingerprint(out.data)).toBe(after)
      await turns(1)
      expect(seen).toEqual(['chunk', reason, 'turn'])
    },
  )

  test('in the middle of a long task: its lane leaves it for the next call', async () => {
    await allLanes(runtime())
    const controller = new AbortController()
    const options = { signal: controller.signal, chunkSize: 2 ** 18 }
    const failure = failureOf(runtime().attention(endlessCall, options))
    await turns(5)
    controller.abort('enough')
    expect(await failure).toBe('enough')
    expect((await runtime().attention(nextCall, { chunkSize: 3000 })).report.tasks).toBe(1)
  })

  test('one call of several is aborted: the others go on', async () => {
    const controller = new AbortController()
    const expected = fingerprint((await runtime().attention(smallCall, { causal: true })).output.data)
    const aborted = failureOf(runtime().attention(largeCall, { signal: controller.signal, chunkSize: 256 }))
    const others = Array.from({ length: 4 }, () => runtime().attention(smallCall, { causal: true }))
    controller.abort('gone')
    expect(await aborted).toBe('gone')
    for (const other of others) expect(fingerprint((await other).output.data)).toBe(expected)
  })

  test('an abort after the end changes nothing', async () => {
    const controller = new AbortController()
    const { output } = await runtime().attention(smallCall, { signal: controller.signal })
    const before = fingerprint(output.data)
    controller.abort()
    await runtime().attention(smallCall)
    expect(fingerprint(output.data)).toBe(before)
  })
})
