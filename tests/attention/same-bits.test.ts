import type { AttentionOptions, AttentionResult, Runtime } from 'heddle'
import { createRuntime } from 'heddle'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { fullCase, singleCases, type Dims } from '../support/option-cases.ts'
import { Random } from '../support/random.ts'
import { fingerprint, normalTensor, shared } from '../support/tensors.ts'
import { delayedWorkers } from '../support/wrapped-worker.ts'

const pools: Record<string, Runtime> = {}

beforeAll(async () => {
  for (const workers of [0, 2, 3]) pools[`${workers} workers`] = await createRuntime({ workers })
  pools['2 workers without shared memory'] = await createRuntime({ workers: 2, sharedMemory: 'never' })
  pools['3 workers that answer late and in any order'] = await createRuntime({
    workers: 3,
    workerFactory: delayedWorkers(new Random(101)),
  })
})

afterAll(async () => {
  await Promise.all(Object.values(pools).map((pool) => pool.close()))
})

const asked = { returnLogSumExp: true, returnStatistics: true } as const

function inputsFor({ B, H, M, N }: Dims, D: number) {
  const random = new Random(102)
  return {
    query: normalTensor(random, [B, H, M, D]),
    key: normalTensor(random, [B, H, N, D]),
    value: normalTensor(random, [B, H, N, D]),
  }
}

/** One line for every bit of a result. */
function bitsOf({ output, logSumExp, weights, statistics }: AttentionResult): string {
  const parts = { output, logSumExp, weights, ...statistics }
  return Object.entries(parts)
    .map(([name, part]) => `${name} ${part ? fingerprint(part.data) : '-'}`)
    .join(', ')
}

async function expectSameBits(dims: Dims, D: number, options: AttentionOptions): Promise<void> {
  const inputs = inputsFor(dims, D)
  const inSharedMemory = { query: shared(inputs.query), key: shared(inputs.key), value: shared(inputs.value) }
  const first = bitsOf(await pools['0 workers']!.attention(inputs, { ...options, ...asked }))
  for (const [name, pool] of Object.entries(pools)) {
    for (const chunkSize of [undefined, 1, 7, 64]) {
      if (chunkSize === 1 && dims.M > 100) continue
      const chunk = chunkSize === undefined ? {} : { chunkSize }
      const plain = await pool.attention(inputs, { ...options, ...asked, ...chunk })
      expect(bitsOf(plain), `${name}, chunk size ${chunkSize}`).toBe(first)
    }
    const fromShared = await pool.attention(inSharedMemory, { ...options, ...asked, chunkSize: 33 })
    expect(bitsOf(fromShared), `${name}, shared memory`).toBe(first)
    expect(fromShared.report.reproducible).toBe(true)
  }
}

describe('the same bits for every chunk size, pool, memory and completion order', () => {
  const dims = { B: 2, H: 2, M: 75, N: 283 }
  test.each([...singleCases, fullCase])('$name', async ({ options }) => {
    await expectSameBits(dims, 12, options(new Random(103), dims))
  })

  test.each(['chunked', 'standard'] as const)('weights in %s mode', async (mode) => {
    const returnWeights = mode === 'standard' ? true : { rows: [0, 3, 8, 63, 64, 74] }
    await expectSameBits(dims, 12, { mode, causal: true, queryOffset: 90, returnWeights })
  })

  test('few rows over many keys', async () => {
    for (const M of [1, 2, 5])
      await expectSameBits({ B: 1, H: 2, M, N: 9001 }, 16, { causal: true, queryOffset: 9000 - M })
  })

  test('a longer causal sequence', async () => {
    await expectSameBits({ B: 1, H: 1, M: 1100, N: 1100 }, 24, { causal: true })
  })
})
