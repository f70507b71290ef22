import { createRuntime, RuntimeClosedError } from 'heddle'
import { describe, expect, test } from 'vitest'
import { Random } from '../support/random.ts'
import { turns, WorkerCrew } from '../support/runtimes.ts'
import { filled, fingerprint, normalTensor } from '../support/tensors.ts'

const small = normalTensor(new Random(221), [12, 8])
const smallCall = { query: small, key: small, value: small }
const large = filled([1, 12000, 64], (at) => Math.cos(at))
const largeCall = { query: large, key: large, value: large }

/** Workers and their ports, as Node counts them. */
function threads(): number {
  return process.getActiveResourcesInfo().filter((name) => name === 'Worker' || name === 'MessagePort').length
}

describe.each([0, 2])('%i workers', (workers) => {
  test('after close every call rejects, and closing again is nothing new', async () => {
    const runtime = await createRuntime({ workers })
    await runtime.attention(smallCall)
    await runtime.close()
    await runtime.close()
    await expect(runtime.attention(smallCall)).rejects.toBeInstanceOf(RuntimeClosedError)
    await expect(runtime.trim()).rejects.toBeInstanceOf(RuntimeClosedError)
    expect(() => runtime.tensor([2])).toThrow(RuntimeClosedError)
    expect(() => runtime.plan({ query: [2, 4], key: [2, 4], value: [2, 4] })).toThrow(RuntimeClosedError)
  })

  test('close with calls in flight: every promise settles, and nothing is written afterwards', async () => {
    const crew = new WorkerCrew()
    const runtime = await createRuntime(workers === 0 ? { workers } : { workers, workerFactory: crew.workerFactory })
    const out = { data: new Float32Array(12000 * 64).fill(NaN), shape: [1, 12000, 64] }
    let atWork = (): void => undefined
    const begun = new Promise<void>((resolve) => (atWork = resolve))
    const calls = [
      runtime.attention(largeCall, { chunkSize: 128, out, onChunk: () => atWork() }),
      runtime.attention(largeCall, { chunkSize: 12000 }),
      runtime.attention(smallCall),
    ]
    const outcomes = Promise.allSettled(calls)
    await begun
    await runtime.close()
    const [first, second, short] = await outcomes
    for (const outcome of [first, second])
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'RuntimeClosedError' } })
    if (short?.status === 'rejected') expect(short.reason).toMatchObject({ code: 'RuntimeClosedError' })
    // The call was at work, and had not ended.
    expect(out.data.some(Number.isFinite)).toBe(true)
    expect(out.data.some(Number.isNaN)).toBe(true)
    const after = fingerprint(out.data)
    await crew.allExited()
    await turns(20)
    expect(fingerprint(out.data)).toBe(after)
  })

  test('two closes at once share one end', async () => {
    const runtime = await createRuntime({ workers })
    const call = runtime.attention(largeCall).catch((error: unknown) => error)
    await Promise.all([runtime.close(), runtime.close()])
    expect(await call).toBeInstanceOf(RuntimeClosedError)
  })
})

test('no worker and no port is left after close', async () => {
  const before = threads()
  const crew = new WorkerCrew()
  const runtime = await createRuntime({ workers: 3, workerFactory: crew.workerFactory })
  await Promise.all(Array.from({ length: 10 }, () => runtime.attention(smallCall, { chunkSize: 2 })))
  expect(crew.alive.length).toBe(3)
  await runtime.close()
  await crew.allExited()
  expect(crew.alive).toEqual([])
  expect(threads()).toBe(before)
})

test('trim ends idle workers; the next call starts them again', async () => {
  const crew = new WorkerCrew()
  const runtime = await createRuntime({ workers: 2, workerFactory: crew.workerFactory })
  const before = await runtime.attention(smallCall)
  await runtime.trim()
  await crew.allExited()
  expect(crew.alive).toEqual([])
  const after = await runtime.attention(smallCall, { chunkSize: 2 })
  expect(fingerprint(after.output.data)).toBe(fingerprint(before.output.data))
  expect(crew.alive.length).toBeGreaterThan(0)
  await runtime.close()
  await crew.allExited()
})

test.each([
  [
    'throws',
    () => {
      throw new Error('terminate failed')
    },
  ],
  ['rejects', () => Promise.reject(new Error('terminate failed'))],
])('close settles where a custom worker’s terminate() %s', async (_, terminate) => {
  const crew = new WorkerCrew()
  const end: (() => Promise<number>)[] = []
  const workerFactory = () => {
    const worker = crew.workerFactory()
    end.push(worker.terminate.bind(worker))
    worker.terminate = terminate
    return worker
  }
  const runtime = await createRuntime({ workers: 2, workerFactory })
  const pending = runtime.attention(largeCall).catch((error: unknown) => error)
  await expect(runtime.close()).resolves.toBeUndefined()
  expect(await pending).toBeInstanceOf(RuntimeClosedError)
  await Promise.all(end.map((terminateReally) => terminateReally()))
})
