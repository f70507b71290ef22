import { describe, expect, test } from 'vitest'
import { expectOracle } from '../support/expect-attention.ts'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { normalTensor } from '../support/tensors.ts'

const runtime = useRuntime({ workers: 2 })

function heads(M: number, N: number, D: number, Dv = D, B = 1, H = 1, Hkv = H) {
  const random = new Random(M * 7919 + N * 104729 + D)
  return {
    query: normalTensor(random, [B, H, M, D]),
    key: normalTensor(random, [B, Hkv, N, D]),
    value: normalTensor(random, [B, Hkv, N, Dv]),
  }
}

describe('head sizes', () => {
  const sizes = [
    1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 80, 96, 127, 128, 160, 192, 255, 256, 257, 320,
  ]
  test.each(sizes)('D = Dv = %i', async (D) => {
    await expectOracle(runtime(), heads(11, 37, D), { causal: true, queryOffset: 26 })
  })
  test.each([
    [1, 64],
    [64, 1],
    [3, 8],
    [40, 64],
    [64, 40],
    [128, 256],
    [256, 96],
    [8, 300],
  ])('D = %i, Dv = %i', async (D, Dv) => {
    await expectOracle(runtime(), heads(11, 37, D, Dv))
  })
})

describe('sequence lengths around tiles and blocks', () => {
  const lengths = [1, 2, 3, 4, 5, 7, 8, 9, 16, 31, 63, 64, 65, 127, 129]
  test.each(lengths)('M = %i', async (M) => {
    for (const N of [1, 4, 6, 130]) await expectOracle(runtime(), heads(M, N, 8))
  })
  test.each([...lengths, 255, 256, 257, 511, 513, 700])('N = %i', async (N) => {
    for (const M of [1, 8, 9]) await expectOracle(runtime(), heads(M, N, 8), { causal: true, queryOffset: N - M })
  })
  test.each([
    [1, 5000],
    [3, 3001],
    [2000, 3],
    [130, 1030],
  ])('M = %i, N = %i', async (M, N) => {
    await expectOracle(runtime(), heads(M, N, 12))
  })
})

test.each([
  [6, 1],
  [6, 2],
  [6, 3],
  [6, 6],
])('%i query heads over %i key/value heads', async (H, Hkv) => {
  await expectOracle(runtime(), heads(10, 14, 8, 6, 2, H, Hkv), { causal: true, queryOffset: 4 })
})

describe('sizes of 0', () => {
  const cases = [
    { B: 0, H: 2, M: 3, N: 4 },
    { B: 2, H: 0, M: 3, N: 4 },
    { B: 2, H: 2, M: 0, N: 4 },
    { B: 2, H: 2, M: 3, N: 0 },
    { B: 0, H: 0, M: 0, N: 0 },
  ]
  test.each(cases)('B = $B, H = $H, M = $M, N = $N', async ({ B, H, M, N }) => {
    await expectOracle(runtime(), heads(M, N, 4, 5, B, H))
  })

  test('N = 0 in the other layouts: every row is fully masked', async () => {
    const empty = { data: new Float32Array(0), shape: [0, 3] }
    const reference = await expectOracle(runtime(), {
      query: normalTensor(new Random(1), [2, 3]),
      key: empty,
      value: empty,
    })
    expect([...reference.logSumExp.exact]).toEqual([-Infinity, -Infinity])
    const packed = { data: new Float32Array(0), shape: [2, 0, 6] }
    await expectOracle(
      runtime(),
      { query: normalTensor(new Random(1), [2, 3, 6]), key: packed, value: packed },
      { heads: 3 },
    )
  })
})
