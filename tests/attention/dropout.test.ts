import { describe, expect, test } from 'vitest'
import { expectOracle } from '../support/expect-attention.ts'
import { keepMask } from '../support/philox.ts'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { filled, fingerprint, normalTensor } from '../support/tensors.ts'

const runtime = useRuntime({ workers: 2 })
const random = new Random(91)

describe('which weights are kept', () => {
  // With equal scores and one-hot values, output[i, j] is 1/(1 − p)/N where weight (i, j) was kept and 0 where it was
  // dropped.
  const [B, H, M, N] = [2, 3, 19, 37]
  const zeros = filled([B, H, M, 4], () => 0)
  const key = filled([B, H, N, 4], () => 0)
  const oneHot = filled([B, H, N, N], (at) => (Math.floor(at / N) % N === at % N ? 1 : 0))

  test.each([
    { probability: 0.5, seed: 0 },
    { probability: 0.1, seed: 1 },
    { probability: 0.9, seed: 4294967295 },
    { probability: 0.3, seed: 4294967296 },
    { probability: 0.25, seed: Number.MAX_SAFE_INTEGER },
  ])('p = $probability, seed $seed: exactly those of the Philox counter', async (dropout) => {
    for (const options of [{ chunkSize: 1 }, { chunkSize: 7 }, {}, { mode: 'standard' as const }, { queryOffset: 5 }]) {
      const { output } = await runtime().attention({ query: zeros, key, value: oneHot }, { dropout, ...options })
      const expected = Array.from({ length: B * H * M }, (_, row) =>
        keepMask(dropout.seed, dropout.probability, Math.floor(row / M), row % M, N),
      ).flat()
      expect([...output.data].map((x) => x !== 0)).toEqual(expected)
    }
  })

  test('a bigint seed is the same 64 bits', async () => {
    const run = async (seed: number | bigint) => {
      const { output } = await runtime().attention(
        { query: zeros, key, value: oneHot },
        { dropout: { probability: 0.5, seed } },
      )
      return fingerprint(output.data)
    }
    expect(await run(123456789012345n)).toBe(await run(123456789012345))
    expect(await run((1n << 64n) - 1n)).not.toBe(await run((1n << 32n) - 1n))
  })
})

describe('values', () => {
  const inputs = {
    query: normalTensor(random, [2, 40, 8]),
    key: normalTensor(random, [2, 700, 8]),
    value: normalTensor(random, [2, 700, 8]),
  }
  test.each([0, 1e-12, 0.01, 0.5, 0.99, 1])('p = %f', async (probability) => {
    await expectOracle(runtime(), inputs, {
      dropout: { probability, seed: 3 },
      chunkSize: 16,
      causal: true,
      queryOffset: 670,
    })
  })

  test('p = 0 is no dropout, and another seed is another result', async () => {
    const run = async (options: object) => fingerprint((await runtime().attention(inputs, options)).output.data)
    expect(await run({ dropout: { probability: 0, seed: 1 } })).toBe(await run({}))
    expect(await run({ dropout: { probability: 0.5, seed: 1 } })).not.toBe(
      await run({ dropout: { probability: 0.5, seed: 2 } }),
    )
  })
})
