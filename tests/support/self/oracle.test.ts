import { describe, expect, test } from 'vitest'
import { attentionFixtures } from '../fixtures.ts'
import { attentionReference } from '../oracle.ts'
import { Random } from '../random.ts'
import { filled, normalTensor } from '../tensors.ts'

function worstDifference(actual: Float64Array, expected: Float64Array): number {
  expect(actual.length).toBe(expected.length)
  return actual.reduce((worst, x, at) => (x === expected[at] ? worst : Math.max(worst, Math.abs(x - expected[at]!))), 0)
}

describe('the oracle gives what PyTorch gives in float64', () => {
  test.each(attentionFixtures())('$name', ({ inputs, options, expected }) => {
    const reference = attentionReference(inputs, options)
    expect(reference.output.shape).toEqual(expected.output.shape)
    // Both sum in float64, in different orders.
    expect(worstDifference(reference.output.exact, expected.output.data)).toBeLessThan(1e-14)
    expect(worstDifference(reference.weights.exact, expected.weights.data)).toBeLessThan(1e-14)
    expect(worstDifference(reference.logSumExp.exact, expected.logSumExp.data)).toBeLessThan(1e-14)
  })
})

test('the plain float32 result differs from the exact one, by rounding alone', () => {
  const random = new Random(1)
  const inputs = {
    query: normalTensor(random, [40, 16]),
    key: normalTensor(random, [50, 16]),
    value: normalTensor(random, [50, 16]),
  }
  const { output } = attentionReference(inputs)
  const error = worstDifference(output.plain, output.exact)
  expect(error).toBeGreaterThan(1e-8)
  expect(error).toBeLessThan(1e-5)
})

test('statistics of a row whose weights are known: equal keys, and one that stands out', () => {
  const query = filled([2, 1], (i) => i) // row 0: all scores 0; row 1: scores are the keys
  const key = filled([4, 1], (j) => (j === 2 ? Math.log(7) : 0))
  const value = filled([4, 1], (j) => j)
  const reference = attentionReference({ query, key, value }, { scale: 1, queryOffset: 1 })
  expect(reference.entropy.exact[0]).toBeCloseTo(Math.log(4), 12)
  expect([...reference.maxIndex.exact]).toEqual([0, 2])
  expect(reference.maxWeight.exact[0]).toBe(0.25)
  expect(reference.maxWeight.exact[1]).toBeCloseTo(0.7, 7) // log 7 is a float32
  expect(reference.meanDistance.exact[0]).toBe((1 + 0 + 1 + 2) / 4)
  expect(reference.meanDistance.exact[1]).toBeCloseTo(0.1 * 2 + 0.1 + 0 + 0.1, 7)
})

test('an empty row has 0, 0, −1, 0, output 0 and log-sum-exp −∞', () => {
  const ones = filled([3, 2], () => 1)
  const reference = attentionReference({ query: ones, key: ones, value: ones }, { causal: true, queryOffset: -1 })
  expect(reference.maxIndex.exact[0]).toBe(-1)
  for (const name of ['entropy', 'maxWeight', 'meanDistance'] as const) expect(reference[name].exact[0]).toBe(0)
  expect(reference.logSumExp.exact[0]).toBe(-Infinity)
  expect([...reference.output.exact.slice(0, 2)]).toEqual([0, 0])
})
