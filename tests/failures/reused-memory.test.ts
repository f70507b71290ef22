import { createRuntime, type AttentionOptions, type Runtime, type RuntimeOptions, type Tensor } from 'heddle'
import { TransformerBlock } from 'heddle/nn'
import { afterEach, describe, expect, test } from 'vitest'
import { Random } from '../support/random.ts'
import { allLanes, turns, withRuntime } from '../support/runtimes.ts'
import { filled, fingerprint, normalTensor, shared } from '../support/tensors.ts'

const RealShared = SharedArrayBuffer

/** Counts the large shared buffers that are made from now on. */
function countBuffers(): () => number {
  let count = 0
  globalThis.SharedArrayBuffer = new Proxy(RealShared, {
    construct(target, [bytes]: [number]) {
      if (bytes >= 65_536) count++
      return new target(bytes)
    },
  })
  return () => count
}

afterEach(() => {
  globalThis.SharedArrayBuffer = RealShared
})

const [B, H, N, D] = [1, 2, 700, 32]
const random = new Random(271)
const make = (): Tensor => normalTensor(random, [B, H, N, D])
const inputs = { query: make(), key: make(), value: make() }
const poison = filled([B, H, N, D], () => NaN)
const tokens = normalTensor(random, [2, 600, 64])
const block = new TransformerBlock({ modelDim: 64, heads: 4, feedForwardDim: 128 })
const poisonTokens = filled([2, 600, 64], () => NaN)
const twoWorkers: RuntimeOptions = { workers: 2 }

interface Report {
  readonly memory: { readonly plannedBytes: number; readonly peakBytes: number }
}

type Call = (runtime: Runtime, poisoned: boolean, signal?: AbortSignal) => Promise<{ output: Tensor; report: Report }>

function expectAsPlanned({ memory }: Report): void {
  expect(memory.peakBytes).toBeLessThanOrEqual(memory.plannedBytes)
  expect(memory.peakBytes).toBeGreaterThanOrEqual(0.95 * memory.plannedBytes)
}

const attend =
  (options: AttentionOptions): Call =>
  (runtime, poisoned, signal) =>
    runtime.attention(poisoned ? { query: poison, key: poison, value: poison } : inputs, {
      ...options,
      ...(signal === undefined ? {} : { signal }),
    })
const calls: Record<string, Call> = {
  'chunked attention': attend({ causal: true }),
  'standard attention': attend({ mode: 'standard', causal: true, window: { before: 50 } }),
  'a transformer block': (runtime, poisoned, signal) =>
    block.forward(poisoned ? poisonTokens : tokens, {
      runtime,
      causal: true,
      ...(signal === undefined ? {} : { signal }),
    }),
}

describe.each(Object.entries(calls))('%s', (name, run) => {
  test('a repeated call makes no new scratch, has the same bits and the bytes of its plan, also after one over NaN', async () => {
    await withRuntime(twoWorkers, async (runtime) => {
      await allLanes(runtime)
      const expected = fingerprint((await run(runtime, false)).output.data)
      await run(runtime, true)
      const made = countBuffers()
      const { output, report } = await run(runtime, false)
      // What grows with n² is not held.
      expect(made()).toBe(name === 'standard attention' ? 1 : 0)
      expect(fingerprint(output.data)).toBe(expected)
      expectAsPlanned(report)
    })
  })

  test('trim gives the memory back', async () => {
    await withRuntime(twoWorkers, async (runtime) => {
      await run(runtime, false)
      await runtime.trim()
      const made = countBuffers()
      await run(runtime, false)
      expect(made()).toBeGreaterThan(0)
    })
  })

  test('what a lane may still write after an abort is not used again: later calls have their bits', async () => {
    await withRuntime(twoWorkers, async (runtime) => {
      const expected = fingerprint((await run(runtime, false)).output.data)
      for (let round = 0; round < 5; round++) {
        const controller = new AbortController()
        const aborted = run(runtime, true, controller.signal).catch((error: unknown) => error)
        await turns(3 * round)
        controller.abort()
        await aborted
        expect(fingerprint((await run(runtime, false)).output.data)).toBe(expected)
      }
    })
  })
})

test('calls at once share no scratch', async () => {
  await withRuntime(twoWorkers, async (runtime) => {
    const expected: string[] = []
    for (const run of Object.values(calls)) expected.push(fingerprint((await run(runtime, false)).output.data))
    const all = Object.values(calls).flatMap((run, index) =>
      [0, 1, 2].map(async () => [index, fingerprint((await run(runtime, false)).output.data)] as const),
    )
    for (const [index, bits] of await Promise.all(all)) expect(bits).toBe(expected[index])
  })
})

test('results are the caller’s: nothing of a later call is written to them', async () => {
  await withRuntime(twoWorkers, async (runtime) => {
    const inShared = { query: shared(inputs.query), key: shared(inputs.key), value: shared(inputs.value) }
    const first = await runtime.attention(inShared, { returnLogSumExp: true })
    const layer = await block.forward(shared(tokens), { runtime })
    const bits = [first.output, first.logSumExp, layer.output].map(({ data }) => fingerprint(data))
    for (const run of Object.values(calls)) await run(runtime, true)
    await runtime.attention(
      { query: shared(poison), key: shared(poison), value: shared(poison) },
      { returnLogSumExp: true },
    )
    await block.forward(shared(poisonTokens), { runtime })
    expect([first.output, first.logSumExp, layer.output].map(({ data }) => fingerprint(data))).toEqual(bits)
  })
})

test('kept buffers are in the plan of another call, and go where a memory budget has no room for them', async () => {
  const large = {
    query: normalTensor(random, [1, 8, 3000, 32]),
    key: normalTensor(random, [1, 8, 3000, 32]),
    value: normalTensor(random, [1, 8, 3000, 32]),
  }
  const kept = await withRuntime(twoWorkers, async (runtime) => {
    await runtime.attention(large)
    expect(runtime.plan(inputs).bytes['kept buffers']).toBeGreaterThan(8e6)
    const { report } = await runtime.attention(inputs)
    expectAsPlanned(report)
    return runtime.plan(large).budgetedBytes
  })
  const runtime = await createRuntime({ ...twoWorkers, memoryBudgetBytes: kept + 1000 })
  try {
    await runtime.attention(large)
    const { report } = await runtime.attention(inputs, { mode: 'standard' })
    expect(report.plan.budgetedBytes).toBeLessThanOrEqual(kept + 1000)
    expect(report.plan.bytes['kept buffers']).toBeUndefined()
    expectAsPlanned(report)
  } finally {
    await runtime.close()
  }
})

test('a chunked call after a standard one holds no more than one before it', async () => {
  await withRuntime(twoWorkers, async (runtime) => {
    await allLanes(runtime)
    const peak = async (): Promise<number> => (await runtime.attention(inputs)).report.memory.peakBytes
    await peak()
    const before = await peak()
    await runtime.attention(inputs, { mode: 'standard' })
    expect(await peak()).toBe(before)
  })
})
