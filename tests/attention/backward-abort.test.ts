import { describe, expect, test } from 'vitest'
import type { AttentionProgress } from 'heddle'
import { forwardFor, gradientBits } from '../support/gradient-checks.ts'
import { Random } from '../support/random.ts'
import { allLanes, turns, useRuntime, withRuntime } from '../support/runtimes.ts'
import { filled, normalTensor } from '../support/tensors.ts'

const runtimes = {
  'on the calling thread': useRuntime({ workers: 0 }),
  'on two workers': useRuntime({ workers: 2 }),
  'by transfer': useRuntime({ workers: 2, sharedMemory: 'never' }),
}
const small = normalTensor(new Random(321), [2, 30, 8])
const smallCall = { query: small, key: small, value: small }
// More than a minute of work for one core: a test that had to wait for it would time out. Backward does not ask whether
// its inputs belong together.
const n = 2 ** 17
const large = filled([2, n, 8], (at) => (at % 7) / 7)
const largeCall = {
  query: large,
  key: large,
  value: large,
  output: large,
  dOutput: large,
  logSumExp: filled([2, n], () => 9),
}

// More work than may run beside another call's task: it waits until the lane has left that one.
const next = filled([3000, 64], (at) => (at % 5) / 5)

function failureOf(call: Promise<unknown>): Promise<unknown> {
  return call.then(
    () => 'no failure',
    (reason: unknown) => reason,
  )
}

describe.each(Object.entries(runtimes))('%s', (_, runtime) => {
  test('a signal that is already aborted rejects with its reason', async () => {
    const reason = new Error('mine')
    const call = await forwardFor(runtime(), smallCall)
    expect(await failureOf(runtime().attentionBackward(call, { signal: AbortSignal.abort(reason) }))).toBe(reason)
  })

  test('in flight: rejects with the reason, and the lane leaves it for the next call', async () => {
    await allLanes(runtime())
    const controller = new AbortController()
    const call = await forwardFor(runtime(), smallCall)
    const bits = gradientBits(await runtime().attentionBackward(call))
    const failure = failureOf(runtime().attentionBackward(largeCall, { signal: controller.signal, chunkSize: n }))
    // The call has begun to run: its lanes hold their first tasks.
    await turns(5)
    controller.abort(new Error('enough'))
    expect(await failure).toMatchObject({ message: 'enough' })
    await runtime().attention({ query: next, key: next, value: next }, { chunkSize: 3000 })
    expect(gradientBits(await runtime().attentionBackward(call, { chunkSize: 8 }))).toBe(bits)
  })

  test('Pᵀ·X in flight', async () => {
    const controller = new AbortController()
    const { query, key, logSumExp } = largeCall
    const failure = failureOf(
      runtime().attentionTransposed({ query, key, logSumExp, rows: large }, { signal: controller.signal }),
    )
    await turns(5)
    controller.abort('gone')
    expect(await failure).toBe('gone')
  })
})

test('progress counts tasks up to all of them', async () => {
  const runtime = runtimes['on two workers']()
  const inputs = {
    query: normalTensor(new Random(322), [4, 1500, 16]),
    key: normalTensor(new Random(323), [4, 1500, 16]),
    value: normalTensor(new Random(324), [4, 1500, 16]),
  }
  const call = await forwardFor(runtime, inputs)
  const seen: AttentionProgress[] = []
  const { report } = await runtime.attentionBackward(call, { onProgress: (progress) => seen.push(progress) })
  expect(report.tasks).toBe(8)
  expect(seen.at(-1)).toMatchObject({ done: 8, total: 8, remainingMs: 0 })
  seen.forEach(({ done }, at) => expect(done).toBeGreaterThan(at === 0 ? -1 : seen[at - 1]!.done))
})

test('close() in the middle: RuntimeClosedError', async () => {
  await withRuntime({ workers: 2 }, async (runtime) => {
    const failure = failureOf(runtime.attentionBackward(largeCall))
    await turns(5)
    await runtime.close()
    expect(await failure).toMatchObject({ code: 'RuntimeClosedError' })
    expect(await failureOf(runtime.attentionBackward(largeCall))).toMatchObject({ code: 'RuntimeClosedError' })
    expect(await failureOf(runtime.planBackward(largeCall))).toMatchObject({ code: 'RuntimeClosedError' })
  })
})
