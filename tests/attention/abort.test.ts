import { describe, expect, test } from 'vitest'
import { Random } from '../support/random.ts'
import { turns, useRuntime, workedMs } from '../support/runtimes.ts'
import { filled, fingerprint, normalTensor } from '../support/tensors.ts'

const runtimes = { 'on the calling thread': useRuntime({ workers: 0 }), 'on two workers': useRuntime({ workers: 2 }) }
const small = normalTensor(new Random(131), [16, 8])
const smallCall = { query: small, key: small, value: small }
// Several seconds of work for one core, so that an abort always comes in the middle.
const n = 16384
const large = filled([2, n, 64], (at) => Math.sin(at))
const largeCall = { query: large, key: large, value: large }

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
    'in flight, %s: rejects within 250 ms of work, and nothing is written afterwards',
    async (mode) => {
      const controller = new AbortController()
      const reason = new Error('stop')
      const rows = mode === 'standard' ? 2048 : n
      const call = {
        query: { data: large.data.subarray(0, 2 * rows * 64), shape: [2, rows, 64] },
        key: large,
        value: large,
      }
      const out = { data: new Float32Array(2 * rows * 64).fill(NaN), shape: [2, rows, 64] }
      let [abortedAt, chunksAfterwards] = [NaN, 0]
      const onChunk = () => {
        if (controller.signal.aborted) chunksAfterwards++
        abortedAt = workedMs()
        controller.abort(reason)
      }
      const failure = failureOf(
        runtime().attention(call, {
          mode,
          signal: controller.signal,
          out,
          chunkSize: 64,
          onChunk,
          onProgress: () => undefined,
        }),
      )
      expect(await failure).toBe(reason)
      expect(workedMs() - abortedAt).toBeLessThan(250)
      const after = fingerprint(out.data)
      // A later call runs on the same lanes: when it is done, every message of the aborted one has been handled.
      for (let call = 0; call < 5; call++) await runtime().attention(smallCall, { chunkSize: 4 })
      expect(fingerprint(out.data)).toBe(after)
      expect(chunksAfterwards).toBe(0)
    },
  )

  test('a long task is left within 250 ms of work: the lane is free for the next call', async () => {
    const controller = new AbortController()
    const failure = failureOf(runtime().attention(largeCall, { signal: controller.signal, chunkSize: n }))
    await turns(20)
    const abortedAt = workedMs()
    controller.abort(new Error('enough'))
    expect(await failure).toMatchObject({ message: 'enough' })
    await runtime().attention(smallCall)
    expect(workedMs() - abortedAt).toBeLessThan(250)
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
