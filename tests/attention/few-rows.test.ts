import { createRuntime, type Runtime } from 'heddle'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { expectResult } from '../support/expect-attention.ts'
import { fullCase, singleCases } from '../support/option-cases.ts'
import { attentionReference } from '../support/oracle.ts'
import type { AttentionInputs, MathOptions } from '../support/problem.ts'
import { Random } from '../support/random.ts'
import { fingerprint, normalTensor } from '../support/tensors.ts'

// Few rows over many keys, as in decoding: the keys themselves may be cut into parts that merge.
const pools: Record<string, Runtime> = {}
beforeAll(async () => {
  for (const workers of [0, 1, 3]) pools[`${workers} workers`] = await createRuntime({ workers })
  pools['2 workers without shared memory'] = await createRuntime({ workers: 2, sharedMemory: 'never' })
})
afterAll(async () => {
  await Promise.all(Object.values(pools).map((pool) => pool.close()))
})

const [B, H, M, N, D] = [1, 2, 5, 9001, 12]
const random = new Random(171)
const inputs = {
  query: normalTensor(random, [B, H, M, D]),
  key: normalTensor(random, [B, H, N, D]),
  value: normalTensor(random, [B, H, N, D]),
}

async function expectEverywhere(call: AttentionInputs, options: MathOptions): Promise<void> {
  const reference = attentionReference(call, options)
  const bits = new Set<string>()
  for (const pool of Object.values(pools)) {
    for (const chunk of [{}, { chunkSize: 2 }, { chunkSize: 1000 }]) {
      const result = await pool.attention(call, { ...options, ...chunk, returnLogSumExp: true })
      expectResult(result, reference)
      bits.add(fingerprint(result.output.data) + fingerprint(result.logSumExp.data))
      expect(result.report.memory.peakBytes).toBeLessThanOrEqual(result.report.memory.plannedBytes)
    }
  }
  expect(bits.size, 'different bits').toBe(1)
}

describe('equal to the oracle, with the same bits on every pool and for every chunk size', () => {
  test.each([...singleCases, fullCase])('$name', async ({ options }) => {
    await expectEverywhere(inputs, options(new Random(172), { B, H, M, N }))
  })

  test('keys that only the first, the last or no part sees', async () => {
    await expectEverywhere(inputs, { causal: true, queryOffset: 10 })
    await expectEverywhere(inputs, { window: { before: 3 }, queryOffset: N - M })
    await expectEverywhere(inputs, { window: { after: 2 }, queryOffset: Int32Array.of(-4) })
    await expectEverywhere(inputs, { keyLengths: Int32Array.of(4097) })
  })

  test('NaN and infinities in one part', async () => {
    const withValue = (tensor: AttentionInputs['key'], row: number, value: number) => {
      const data = tensor.data.slice()
      data[row * D + 3] = value
      return { data, shape: tensor.shape }
    }
    for (const bad of [NaN, Infinity, -Infinity]) {
      await expectEverywhere({ ...inputs, key: withValue(inputs.key, 6000, bad) }, {})
      await expectEverywhere({ ...inputs, value: withValue(inputs.value, 100, bad) }, {})
      await expectEverywhere(
        { ...inputs, value: withValue(inputs.value, 100, bad) },
        { window: { before: 500 }, queryOffset: N },
      )
    }
  })

  test('one row and one head over 40,000 keys', async () => {
    const one = {
      query: normalTensor(random, [1, 16]),
      key: normalTensor(random, [40_000, 16]),
      value: normalTensor(random, [40_000, 7]),
    }
    await expectEverywhere(one, {})
  })
})

test('onChunk gives every row once, merged', async () => {
  for (const pool of Object.values(pools)) {
    const rows: string[] = []
    const { output } = await pool.attention(inputs, {
      chunkSize: 2,
      onChunk: (chunk) => rows.push(`${chunk.head}:${chunk.rowStart}:${chunk.rows}:${fingerprint(chunk.output)}`),
    })
    const expected = [0, 1].flatMap((head) =>
      [0, 2, 4].map((start) => {
        const count = Math.min(2, M - start)
        const part = output.data.slice((head * M + start) * D, (head * M + start + count) * D)
        return `${head}:${start}:${count}:${fingerprint(part)}`
      }),
    )
    expect(rows.sort()).toEqual(expected)
  }
})
