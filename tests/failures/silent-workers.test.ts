import { Worker } from 'node:worker_threads'
import { afterEach, describe, expect, test } from 'vitest'
import { workerFile } from '../support/runtimes.ts'
import { filled, fingerprint } from '../support/tensors.ts'
import { openBeatingPool, type BeatingPool } from '../support/worker-pool.ts'
import { WrappedWorker } from '../support/wrapped-worker.ts'

const same = filled([1, 2, 1200, 32], (at) => Math.sin(at * 1.7))
const call = { query: same, key: same, value: same }
const options = { chunkSize: 100 }

const open: BeatingPool[] = []
afterEach(() => Promise.all(open.splice(0).map(({ pool }) => pool.close())))

async function poolOf(lanes: number, workerFactory: () => Worker | WrappedWorker): Promise<BeatingPool> {
  const beating = await openBeatingPool(lanes, { workerFactory: workerFactory }, 'shared')
  open.push(beating)
  return beating
}

/** The first workers answer their start and nothing after it; the others work. */
function silentAfterStart(silent: number): () => WrappedWorker {
  let made = 0
  return () => {
    const isSilent = made++ < silent
    let answers = 0
    return new WrappedWorker((data, deliver) => {
      if (!isSilent || answers++ === 0) deliver(data)
    })
  }
}

describe('a worker that falls silent', () => {
  test.each([1, 2])('%i of two: its tasks run on others, with the same bits', async (silent) => {
    const healthy = await poolOf(1, () => new Worker(workerFile))
    const expected = fingerprint((await healthy.attention(call, options)).output)
    const pool = await poolOf(2, silentAfterStart(silent))
    // A lane that starts late would get no task to fall silent over.
    while (pool.pool.lanes().some(({ kernels }) => kernels === null))
      await new Promise((resolve) => setImmediate(resolve))
    const { output, retries } = await pool.beatUntil(pool.attention(call, options))
    expect(fingerprint(output)).toBe(expected)
    expect(retries).toBeGreaterThan(0)
  })

  test('all of them, again and again: WorkerLostError', async () => {
    const pool = await poolOf(1, silentAfterStart(Infinity))
    const error: unknown = await pool.beatUntil(pool.attention(call, options)).then(
      () => 'no error',
      (reason: unknown) => reason,
    )
    expect(error).toMatchObject({
      code: 'WorkerLostError',
      cause: { message: 'the worker gave no sign of life for 8 s' },
    })
  })
})

test('a worker that never answers its start does not hold up the others', async () => {
  let made = 0
  const pool = await poolOf(2, () => (made++ === 0 ? new WrappedWorker(() => undefined) : new Worker(workerFile)))
  const { output, retries } = await pool.attention(call, options)
  expect(output.some((value) => value !== 0)).toBe(true)
  expect(retries).toBe(0)
})

test('workers at work answer every beat, however fast the heart beats', async () => {
  const pool = await poolOf(2, () => new Worker(workerFile))
  const large = filled([1, 2, 4000, 64], (at) => Math.sin(at))
  const { retries } = await pool.beatUntil(pool.attention({ query: large, key: large, value: large }))
  expect(retries).toBe(0)
})
