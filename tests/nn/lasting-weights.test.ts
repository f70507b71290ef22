import type { Worker } from 'node:worker_threads'
import { createRuntime, type Runtime } from 'heddle'
import { CausalLanguageModel, TransformerEncoder } from 'heddle/nn'
import { expect, test } from 'vitest'
import { Random } from '../support/random.ts'
import { WorkerCrew } from '../support/runtimes.ts'
import { fingerprint, normalTensor } from '../support/tensors.ts'

type Posted = {
  readonly argumentList?: readonly {
    readonly value?: { readonly attach?: readonly { readonly array: { readonly length: number } }[] }
  }[]
}

/**
 * A runtime, without shared memory unless the options say otherwise, and the lengths of all arrays that were sent to
 * its lanes since the last look.
 */
async function watchedRuntime(workers: number, options = {}): Promise<{ runtime: Runtime; sent: () => number[] }> {
  const crew = new WorkerCrew()
  let lengths: number[] = []
  const workerFactory = (): Worker => {
    const worker = crew.workerFactory()
    const post = worker.postMessage.bind(worker)
    worker.postMessage = (message: Posted, ...rest: never[]) => {
      const attached = message.argumentList?.[0]?.value?.attach ?? []
      lengths.push(...attached.map(({ array }) => array.length))
      post(message, ...rest)
    }
    return worker
  }
  const runtime = await createRuntime({ workers, sharedMemory: 'never', workerFactory, ...options })
  const sent = (): number[] => {
    const before = lengths
    lengths = []
    return before
  }
  return { runtime, sent }
}

const random = new Random(83)
const [M, E, FF] = [90, 40, 104]
const x = normalTensor(random, [M, E])
const make = (layers = 2) => new TransformerEncoder({ modelDim: E, heads: 4, feedForwardDim: FF, layers })
/** the matrices alone: vectors are as long as rows of a chunk might be */
const matricesOf = (model: TransformerEncoder) =>
  model
    .parameters()
    .filter(({ shape }) => shape.length === 2)
    .map(({ data }) => data.length)

function expectAsPlanned({ memory }: { memory: { peakBytes: number; plannedBytes: number } }): void {
  expect(memory.peakBytes).toBeLessThanOrEqual(memory.plannedBytes)
  expect(memory.peakBytes).toBeGreaterThanOrEqual(0.95 * memory.plannedBytes)
}

test('without shared memory a second forward sends no weights; one that changed is sent again, all are after trim', async () => {
  const { runtime, sent } = await watchedRuntime(1)
  try {
    const model = make()
    const weights = (lengths: readonly number[]) =>
      lengths.filter((length) => matricesOf(model).includes(length)).sort((a, b) => a - b)
    const forward = () => model.forward(x, { runtime, chunkSize: 16 })
    const first = await forward()
    expect(weights(sent())).toEqual(matricesOf(model).sort((a, b) => a - b))
    const second = await forward()
    expect(weights(sent())).toEqual([])
    expect(fingerprint(second.output.data)).toBe(fingerprint(first.output.data))
    const [changed] = model.parameters().filter(({ shape }) => shape[0] === FF)
    changed!.data[0]! += 1
    changed!.touch()
    const third = await forward()
    expect(weights(sent())).toEqual([FF * E])
    expect(fingerprint(third.output.data)).not.toBe(fingerprint(first.output.data))
    await runtime.trim()
    const fourth = await forward()
    expect(weights(sent())).toHaveLength(matricesOf(model).length)
    expect(fingerprint(fourth.output.data)).toBe(fingerprint(third.output.data))
    for (const { report } of [first, second, third, fourth]) expectAsPlanned(report)
  } finally {
    await runtime.close()
  }
})

test('over shared memory a message names a weight once, whatever its version, until another model takes the room', async () => {
  const { runtime, sent } = await watchedRuntime(1, { sharedMemory: 'auto' })
  try {
    const [model, other, small] = [make(2), make(2), make(1)]
    const weights = async (of: TransformerEncoder) => {
      await of.forward(x, { runtime, chunkSize: 16 })
      return sent().filter((length) => matricesOf(of).includes(length)).length
    }
    const count = matricesOf(model).length
    expect(await weights(model)).toBe(count)
    expect(await weights(model)).toBe(0)
    for (const parameter of model.parameters()) parameter.touch()
    expect(await weights(model)).toBe(0)
    expect(await weights(other)).toBe(count)
    expect(await weights(model)).toBe(count)
    expect(await weights(small)).toBe(count / 2)
    expect(await weights(small)).toBe(0)
    expect(runtime.plan({ query: x, key: x, value: x }, { chunkSize: 16 }).bytes['lane copies']).toBeUndefined()
    await runtime.trim()
    expect(await weights(model)).toBe(count)
  } finally {
    await runtime.close()
  }
})

test('models that take turns, at once and one after the other: the same bits within their plans', async () => {
  const { runtime } = await watchedRuntime(2)
  const alone = await createRuntime({ workers: 0 })
  try {
    const models = [make(1), make(4), make(2)]
    const expected: string[] = []
    for (const model of models) expected.push(fingerprint((await model.forward(x, { runtime: alone })).output.data))
    for (const model of [...models, ...models.toReversed()]) {
      const { output, report } = await model.forward(x, { runtime, chunkSize: 8 })
      expect(fingerprint(output.data)).toBe(expected[models.indexOf(model)])
      expect(report.memory.peakBytes).toBeLessThanOrEqual(report.memory.plannedBytes)
      expect(
        (await runtime.attention({ query: x, key: x, value: x }, { chunkSize: 30 })).report.memory.peakBytes,
      ).toBeLessThanOrEqual(runtime.plan({ query: x, key: x, value: x }, { chunkSize: 30 }).totalBytes)
    }
    const signal = AbortSignal.timeout(5)
    const calls = [...models, ...models, ...models].map((model, index) =>
      model.forward(x, { runtime, chunkSize: 8, ...(index % 4 === 3 ? { signal } : {}) }).then(
        ({ output }) => fingerprint(output.data),
        () => 'aborted',
      ),
    )
    for (const [index, bits] of (await Promise.all(calls)).entries())
      expect([expected[index % 3], index % 4 === 3 ? 'aborted' : '']).toContain(bits)
  } finally {
    await runtime.close()
    await alone.close()
  }
})

test('where a budget has no room for all weights, lanes keep fewer, and the answer stays', async () => {
  const { runtime: roomy } = await watchedRuntime(1)
  const model = make(6)
  const { output, report } = await model.forward(x, { runtime: roomy, chunkSize: 16 })
  await roomy.close()
  const { runtime: tight } = await watchedRuntime(1, { memoryBudgetBytes: Math.floor(report.plan.budgetedBytes * 0.9) })
  try {
    for (let call = 0; call < 2; call++) {
      const again = await model.forward(x, { runtime: tight, chunkSize: 16 })
      expect(fingerprint(again.output.data)).toBe(fingerprint(output.data))
      expect(again.report.plan.lastingLimitBytes).toBeLessThan(report.plan.lastingLimitBytes)
      expect(again.report.memory.peakBytes).toBeLessThanOrEqual(again.report.memory.plannedBytes)
    }
  } finally {
    await tight.close()
  }
})

test('an embedding’s table stays too: each token that is generated sends none of it', async () => {
  const { runtime, sent } = await watchedRuntime(1)
  try {
    const model = new CausalLanguageModel({ vocabulary: 211, modelDim: E, heads: 4, feedForwardDim: FF, layers: 1 })
    const tokens = { data: Int32Array.from({ length: 64 }, (_, index) => index), shape: [1, 64] }
    for (let call = 0; call < 2; call++) {
      await model.forward(tokens, { runtime, chunkSize: 16 })
      expect(sent().filter((length) => length === 211 * E)).toHaveLength(call === 0 ? 1 : 0)
    }
  } finally {
    await runtime.close()
  }
})
