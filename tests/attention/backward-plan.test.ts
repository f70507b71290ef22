import {
  createRuntime,
  MemoryBudgetError,
  type AttentionBackwardOptions,
  type Runtime,
  type RuntimeOptions,
} from 'heddle'
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest'
import { forwardFor, gradientBits, mathematicsOf, type BackwardInputs } from '../support/gradient-checks.ts'
import type { MathOptions } from '../support/problem.ts'
import { Random } from '../support/random.ts'
import { everyLaneWorks, useRuntime, withRuntime } from '../support/runtimes.ts'
import { integerTensor, maskTensor, normalTensor, shared } from '../support/tensors.ts'

const pools: Record<string, RuntimeOptions> = {
  'the calling thread': { workers: 0 },
  'shared memory': { workers: 2 },
  'four lanes': { workers: 4 },
  transfer: { workers: 2, sharedMemory: 'never' },
}

/** [B, H, Hkv, M, N, D, Dv] */
const shapes: readonly (readonly [number, number, number, number, number, number, number])[] = [
  [1, 1, 1, 400, 2400, 64, 64],
  [2, 4, 2, 300, 500, 32, 48],
  [1, 2, 1, 250, 250, 300, 300],
  [1, 1, 1, 1, 9000, 64, 64],
  [24, 2, 2, 32, 32, 16, 16],
]

const optionsFor = (B: number, H: number, M: number, N: number): (MathOptions & AttentionBackwardOptions)[] => {
  const random = new Random(8)
  return [
    {},
    { causal: true, queryOffset: N - M },
    { chunkSize: 100 },
    { alibiSlopes: new Float32Array(H).fill(0.1), mask: maskTensor(random, [B, H, 1, N]) },
    { bias: normalTensor(random, [H, 1, N]) },
    { bias: normalTensor(random, [M, 1]) },
    { segments: { query: integerTensor(random, [B, M], 2), key: integerTensor(random, [B, N], 2) } },
    ...(M * N < 400_000
      ? [
          { bias: normalTensor(random, [M, N]) },
          { bias: normalTensor(random, [B, H, M, N]) },
          { bias: normalTensor(random, [M, N]), biasGradient: false },
        ]
      : []),
  ]
}

type Shape = (typeof shapes)[number]
const here = useRuntime({ workers: 0 })
const calls = new Map<string, Promise<BackwardInputs>>()

/** Made once for all pools. */
function callOf([B, H, Hkv, M, N, D, Dv]: Shape, options: MathOptions, at: number): Promise<BackwardInputs> {
  const name = [B, H, Hkv, M, N, D, Dv, at].join()
  const random = new Random(7)
  const call =
    calls.get(name) ??
    forwardFor(
      here(),
      {
        query: normalTensor(random, [B, H, M, D]),
        key: normalTensor(random, [B, Hkv, N, D]),
        value: normalTensor(random, [B, Hkv, N, Dv]),
      },
      mathematicsOf(options),
    )
  calls.set(name, call)
  return call
}

describe.each(Object.entries(pools))('the plan’s bytes over %s', (_name, pool) => {
  let runtime: Runtime
  beforeAll(async () => {
    runtime = await createRuntime(pool)
    const call = await callOf([2, 4, 2, 300, 500, 32, 48], {}, 0)
    await everyLaneWorks(runtime, () => runtime.attentionBackward(call))
  })
  afterAll(() => runtime.close())

  it.each(shapes)(
    'hold for B %i, H %i, Hkv %i, M %i, N %i, D %i, Dv %i',
    async (...shape) => {
      const [B, H, , M, N] = shape
      for (const [at, options] of optionsFor(B, H, M, N).entries()) {
        const call = await callOf(shape, options, at)
        const promised = (await runtime.planBackward(call, options)).totalBytes
        const { memory } = (await runtime.attentionBackward(call, options)).report
        const what = Object.keys(options).join()
        expect(memory.plannedBytes, what).toBe(promised)
        expect(memory.peakBytes, what).toBeLessThanOrEqual(promised)
        expect(memory.peakBytes, `${what} ${JSON.stringify(memory.peakByPurpose)}`).toBeGreaterThanOrEqual(
          0.95 * promised,
        )
      }
    },
    60_000,
  )
})

test('shapes count as plain arrays; shared tensors need no copies', async () => {
  await withRuntime({ workers: 2 }, async (runtime) => {
    const random = new Random(9)
    const inputs = {
      query: normalTensor(random, [4, 600, 32]),
      key: normalTensor(random, [4, 600, 32]),
      value: normalTensor(random, [4, 600, 32]),
    }
    const call = await forwardFor(runtime, inputs)
    const [shape] = [inputs.query.shape]
    expect((await runtime.planBackward({ query: shape, key: shape, value: shape })).totalBytes).toBe(
      (await runtime.planBackward(call)).totalBytes,
    )
    const inShared = {
      query: shared(call.query),
      key: shared(call.key),
      value: shared(call.value),
      output: shared(call.output),
      logSumExp: shared(call.logSumExp),
      dOutput: shared(call.dOutput),
    }
    const { bytes } = await runtime.planBackward(inShared)
    expect(bytes['input copies'] ?? bytes['in flight']).toBeUndefined()
  })
})

test('the shape alone says how many tasks there are, and slots grow with lanes, not with heads', async () => {
  await withRuntime({ workers: 2 }, async (runtime) => {
    const plan = (batch: number, n: number) =>
      runtime.planBackward({ query: [batch, n, 64], key: [batch, n, 64], value: [batch, n, 64] })
    const batches = await Promise.all([1, 2, 8, 32, 64].map((batch) => plan(batch, 65_536)))
    expect(batches.map(({ keySegments }) => keySegments)).toEqual([8, 8, 4, 1, 1])
    const lengths = await Promise.all([1, 1024, 1025, 2048, 4097].map((n) => plan(1, n)))
    expect(lengths.map(({ keySegments }) => keySegments)).toEqual([1, 1, 2, 2, 5])
    // Two at work, those that wait for an earlier segment, and one that is being added; 16 MiB of dQ each, and δ.
    expect(await plan(8, 65_536)).toMatchObject({ tasks: 32, slots: 2 + 3 + 1 })
    expect((await plan(8, 65_536)).bytes['gradient slots']).toBe(6 * 65_536 * 65 * 4)
    expect((await plan(64, 65_536)).slots).toBe(3)
  })
})

test('a budget that is too small says what would do, before anything is allocated; that budget does', async () => {
  const random = new Random(10)
  const inputs = {
    query: normalTensor(random, [4, 1500, 32]),
    key: normalTensor(random, [4, 1500, 32]),
    value: normalTensor(random, [4, 1500, 32]),
  }
  const { call, bits } = await withRuntime({ workers: 0 }, async (runtime) => {
    const made = await forwardFor(runtime, inputs)
    return { call: made, bits: gradientBits(await runtime.attentionBackward(made)) }
  })
  const needed = await withRuntime({ workers: 2, memoryBudgetBytes: 5_000_000 }, async (runtime) => {
    const error: unknown = await runtime.attentionBackward(call).then(
      () => 'no error',
      (reason: unknown) => reason,
    )
    expect(error).toBeInstanceOf(MemoryBudgetError)
    const { message, smallestBudgetBytes } = error as MemoryBudgetError
    expect(message).toMatch(
      /attentionBackward: expected a memory budget of at least \d+ bytes \(.*gradient slots \d+.*\), got 5000000/,
    )
    return smallestBudgetBytes!
  })
  await withRuntime({ workers: 2, memoryBudgetBytes: needed }, async (runtime) => {
    const result = await runtime.attentionBackward(call)
    expect(gradientBits(result)).toBe(bits)
    expect(result.report.plan).toMatchObject({ lanes: 1, tasksPerMessage: 1 })
    expect(result.report.plan.budgetedBytes).toBeLessThanOrEqual(needed)
  })
  await withRuntime({ workers: 2, memoryBudgetBytes: needed - 1 }, async (runtime) => {
    await expect(runtime.attentionBackward(call)).rejects.toMatchObject({ code: 'MemoryBudgetError' })
  })
})

test('a plan explains itself', async () => {
  await withRuntime({ workers: 2 }, async (runtime) => {
    const shape = [1, 8, 4096, 64]
    const plan = await runtime.planBackward({ query: shape, key: shape, value: shape }, { causal: true })
    const text = plan.explain()
    expect(text).toContain('attentionBackward   query [1, 8, 4096, 64]  key [1, 8, 4096, 64]  width 64')
    expect(text).toContain('GFLOP in 32 tasks, 4 key segments per head')
  })
})
