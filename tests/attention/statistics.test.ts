import { describe, expect, test } from 'vitest'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { filled, normalTensor } from '../support/tensors.ts'

const runtime = useRuntime({ workers: 1 })

describe.each(['chunked', 'standard'] as const)('%s mode', (mode) => {
  test('ties: the lowest key of the largest weight, wherever its copies stand', async () => {
    const random = new Random(41)
    const N = 600
    const row = normalTensor(random, [1, 8]).data
    const query = { data: Float32Array.from({ length: 9 * 8 }, (_, at) => row[at % 8]!), shape: [9, 8] }
    const key = normalTensor(random, [N, 8], 0.1)
    for (const places of [
      [0, 1],
      [3, 7],
      [130, 131, 599],
      [5, 300],
      [255, 256],
      [598, 599],
    ]) {
      const tied = { data: key.data.slice(), shape: key.shape }
      for (const place of places) tied.data.set(row, place * 8)
      const { statistics } = await runtime().attention(
        { query, key: tied, value: key },
        { mode, returnStatistics: true },
      )
      expect([...statistics.maxIndex.data]).toEqual(Array(9).fill(places[0]))
    }
  })

  test('equal scores: entropy log N, weight 1/N, index of the first allowed key', async () => {
    const zeros = filled([700, 4], () => 0)
    const query = filled([10, 4], (at) => at)
    const options = { mode, returnStatistics: true, window: { before: 3 }, queryOffset: 20 } as const
    const { statistics } = await runtime().attention({ query, key: zeros, value: zeros }, options)
    statistics.maxIndex.data.forEach((index, i) => {
      const first = i + 20 - 3
      expect(index).toBe(first)
      expect(Math.abs(statistics.entropy.data[i]! - Math.log(700 - first))).toBeLessThan(1e-5)
      expect(Math.abs(statistics.maxWeight.data[i]! * (700 - first) - 1)).toBeLessThan(1e-5)
    })
  })

  test('one allowed key: entropy 0, weight 1, its index and its distance', async () => {
    const random = new Random(42)
    const same = normalTensor(random, [50, 6])
    const options = {
      mode,
      returnStatistics: true,
      returnLogSumExp: true,
      window: { before: 0, after: 0 },
      queryOffset: 0,
    } as const
    const { statistics, output } = await runtime().attention({ query: same, key: same, value: same }, options)
    expect([...statistics.maxIndex.data]).toEqual(Array.from({ length: 50 }, (_, i) => i))
    expect([...statistics.maxWeight.data]).toEqual(Array(50).fill(1))
    for (const entropy of statistics.entropy.data) expect(Math.abs(entropy)).toBeLessThan(1e-6)
    expect([...statistics.meanDistance.data]).toEqual(Array(50).fill(0))
    expect(output.data).toEqual(same.data)
  })
})
