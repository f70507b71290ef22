import type { Worker } from 'node:worker_threads'
import { createRuntime } from 'heddle'
import { TransformerEncoder } from 'heddle/nn'
import { expect, test } from 'vitest'
import { Random } from '../support/random.ts'
import { allLanes, turns, turnsUntil, WorkerCrew, withRuntime } from '../support/runtimes.ts'
import { fingerprint, normalTensor, shared } from '../support/tensors.ts'

const runs = process.env['HEDDLE_HEAVY'] === '1' ? 100 : 6
const random = new Random(77)
const layer = new TransformerEncoder({ modelDim: 64, heads: 4, layers: 2 })
const x = normalTensor(random, [2, 1500, 64])
const options = { causal: true, chunkSize: 128 }

test(`a worker killed in the middle of an encoder: the right bits or WorkerLostError (${runs} runs)`, async () => {
  const { expected, calm } = await withRuntime({ workers: 2 }, async (runtime) => {
    await allLanes(runtime)
    const running = layer.forward(x, { runtime, ...options })
    const calm = await turnsUntil(running)
    return { expected: fingerprint((await running).output.data), calm }
  })
  let retried = 0
  for (let run = 0; run < runs; run++) {
    const crew = new WorkerCrew()
    const runtime = await createRuntime({
      workers: 2,
      sharedMemory: run % 2 === 0 ? 'auto' : 'never',
      workerFactory: crew.workerFactory,
    })
    const pending = layer.forward(x, { runtime, ...options }).catch((error: unknown) => error)
    await turns(random.integer(0, calm))
    if (crew.alive.length > 0) await random.pick(crew.alive).terminate()
    const outcome = await pending
    if (outcome instanceof Error) {
      expect(outcome).toMatchObject({ code: 'WorkerLostError' })
    } else {
      const { output, report } = outcome as Awaited<ReturnType<typeof layer.forward>>
      expect(fingerprint(output.data)).toBe(expected)
      retried += report.retries
    }
    await runtime.close()
  }
  expect(retried).toBeGreaterThan(0)
})

test('a worker killed in the middle that cannot be replaced: the other lane does its part', async () => {
  const expected = await withRuntime({ workers: 1 }, async (runtime) =>
    fingerprint((await layer.forward(x, { runtime, ...options })).output.data),
  )
  const crew = new WorkerCrew()
  const workerFactory = (): Worker => {
    if (crew.workers.length === 2) throw new Error('no more workers')
    const worker = crew.workerFactory()
    const post = worker.postMessage.bind(worker)
    worker.postMessage = (...message: Parameters<Worker['postMessage']>) => {
      post(...message)
      // Comlink names the method: the second lane has just got its share.
      const { path } = message[0] as { readonly path?: readonly string[] }
      if (worker === crew.workers[1] && path?.[0] === 'run') void worker.terminate()
    }
    return worker
  }
  await withRuntime({ workers: 2, workerFactory }, async (runtime) => {
    await allLanes(runtime)
    const { output, report } = await layer.forward(x, { runtime, ...options })
    expect(fingerprint(output.data)).toBe(expected)
    expect(report).toMatchObject({ retries: 1, fallbacks: [{ what: 'no lane 1 (wasm)' }] })
  })
})

test.each([false, true])(
  'what a lost lane may still write is no scratch of later calls (a worker lost: %s)',
  async (deadly) => {
    const crew = new WorkerCrew()
    const workerFactory = (): Worker => {
      const worker = crew.workerFactory()
      if (!deadly || crew.workers.length > 1) return worker
      // The first one answers its start, and dies as soon as it has got its share.
      let messages = 0
      const post = worker.postMessage.bind(worker)
      worker.postMessage = (...message: Parameters<Worker['postMessage']>) => {
        post(...message)
        if (++messages === 2) void worker.terminate()
      }
      return worker
    }
    // Inputs in shared memory are no scratch: nothing is left but the tensors between the stages.
    const input = shared(x)
    await withRuntime({ workers: 2, workerFactory }, async (runtime) => {
      const { report } = await layer.forward(input, { runtime, ...options })
      expect(report.retries > 0).toBe(deadly)
      const kept = () => layer.plan(runtime, [1, 10, 64]).bytes['kept buffers'] ?? 0
      if (deadly) expect(kept()).toBe(0)
      else expect(kept()).toBeGreaterThanOrEqual(input.data.byteLength)
      await layer.forward(input, { runtime, ...options })
      expect(kept()).toBeGreaterThanOrEqual(input.data.byteLength)
    })
  },
)
