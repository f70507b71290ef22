import { describe, expect, test } from 'vitest'
import { expectOracle } from '../support/expect-attention.ts'
import type { MathOptions } from '../support/problem.ts'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { filled, normalTensor } from '../support/tensors.ts'

const runtime = useRuntime({ workers: 1 })
const [B, H, M, N] = [2, 2, 70, 90]
const random = new Random(51)
const inputs = {
  query: normalTensor(random, [B, H, M, 8]),
  key: normalTensor(random, [B, H, N, 8]),
  value: normalTensor(random, [B, H, N, 8]),
}

function rowsMasked(rows: readonly number[]): Uint8Array {
  return Uint8Array.from({ length: M }, (_, i) => (rows.includes(i) ? 0 : 1))
}

const cases: readonly { name: string; options: MathOptions; empty: (b: number, i: number) => boolean }[] = [
  {
    name: 'a mask of some rows',
    options: { mask: { data: rowsMasked([0, 9, 63, 69]), shape: [M, 1] } },
    empty: (_, i) => [0, 9, 63, 69].includes(i),
  },
  { name: 'a mask of all', options: { mask: { data: new Uint8Array(1), shape: [1] } }, empty: () => true },
  {
    name: 'a bias of −∞',
    options: { bias: filled([M, 1], (i) => (i === 5 ? -Infinity : i)) },
    empty: (_, i) => i === 5,
  },
  { name: 'causal with a negative offset', options: { causal: true, queryOffset: -66 }, empty: (_, i) => i < 66 },
  {
    name: 'a window before the first key',
    options: { window: { after: 2 }, queryOffset: Int32Array.of(-20, 0) },
    empty: (b, i) => b === 0 && i < 18,
  },
  { name: 'a window past the last key', options: { window: { before: 3 }, queryOffset: 80 }, empty: (_, i) => i > 12 },
  { name: 'key length 0', options: { keyLengths: Int32Array.of(0, 7) }, empty: (b) => b === 0 },
  {
    name: 'a segment without keys',
    options: {
      segments: {
        query: { data: Int32Array.from({ length: B * M }, (_, at) => (at % M === 3 ? -7 : 1)), shape: [B, M] },
        key: { data: new Int32Array(B * N).fill(1), shape: [B, N] },
      },
    },
    empty: (_, i) => i === 3,
  },
]

describe.each(cases)('$name', ({ options, empty }) => {
  test('output 0, weights 0, log-sum-exp −∞, statistics 0, 0, −1, 0; the other rows as ever', async () => {
    const reference = await expectOracle(runtime(), inputs, { ...options, chunkSize: 16 })
    const rows = Array.from({ length: B * H * M }, (_, row) => empty(Math.floor(row / (H * M)), row % M))
    expect([...reference.logSumExp.exact].map((x) => x === -Infinity)).toEqual(rows)
    const result = await runtime().attention(inputs, { ...options, returnStatistics: true, returnWeights: true })
    rows.forEach((isEmpty, row) => {
      if (!isEmpty) return
      expect([...result.output.data.subarray(row * 8, row * 8 + 8)]).toEqual(Array(8).fill(0))
      expect(result.weights.data.subarray(row * N, (row + 1) * N).every((weight) => weight === 0)).toBe(true)
      const { entropy, maxWeight, maxIndex, meanDistance } = result.statistics
      expect([entropy, maxWeight, maxIndex, meanDistance].map(({ data }) => data[row])).toEqual([0, 0, -1, 0])
    })
  })
})

test('a row is not empty because its logits are very low', async () => {
  const low = filled([M, 1], (i) => (i % 2 === 0 ? -1e30 : -3e38))
  const flat = {
    query: normalTensor(random, [M, 4]),
    key: normalTensor(random, [N, 4]),
    value: normalTensor(random, [N, 4]),
  }
  const { logSumExp } = await expectOracle(runtime(), flat, { bias: low })
  expect(logSumExp.exact.every(Number.isFinite)).toBe(true)
})

test('the lowest float32 as a bias, which others use as a mask: no NaN, and weights of 0 beside ordinary keys', async () => {
  const lowest = -3.4028234663852886e38
  const flat = {
    query: normalTensor(random, [M, 4]),
    key: normalTensor(random, [N, 4]),
    value: normalTensor(random, [N, 4]),
  }
  await expectOracle(runtime(), flat, { bias: filled([N], (j) => (j % 3 === 0 ? lowest : 0)) })
  await expectOracle(runtime(), flat, { bias: filled([1], () => lowest) })
})
