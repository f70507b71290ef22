import { describe, expect, test } from 'vitest'
import { measureCloseness, pooled, webgpuTolerance } from '../error-rule.ts'
import { Random } from '../random.ts'

const reference = { exact: Float64Array.of(1, -2, 100), plain: Float64Array.of(1, -2.001, 100), shape: [3] }

test('the bound is 2·e_plain + 1e-6·max(1, max|x|) over the worst element', () => {
  const closeness = measureCloseness([1.00209, -2, 100], reference.exact, reference.plain)
  expect(closeness.bound).toBeCloseTo(2 * 0.001 + 1e-4, 12)
  expect(closeness).toMatchObject({ ok: true, worstIndex: 0 })
  expect(measureCloseness([1.00211, -2, 100], reference.exact, reference.plain).ok).toBe(false)
})

test('the message names the place, both values, both errors and the bound', () => {
  expect(() => expect([1, -2, 100.5]).toMatchOracle(reference)).toThrow(
    /worst at 2 \(\[2\]\): expected 100, got 100\.5; e = 0\.5, e_plain = 0\.00099.*, bound = 0\.00209/,
  )
})

test.each([
  ['NaN where a number belongs', [NaN, 1], [0, 1]],
  ['a number where NaN belongs', [0, 1], [NaN, 1]],
  ['NaN where an infinity belongs', [NaN, 1], [Infinity, 1]],
  ['the wrong sign of an infinity', [-Infinity, 1], [Infinity, 1]],
  ['an infinity where a number belongs', [Infinity, 1], [3, 1]],
])('%s fails', (_, actual, exact) => {
  expect(measureCloseness(actual, exact, exact).ok).toBe(false)
})

test('NaN and infinities at the right places pass', () => {
  const exact = [NaN, Infinity, -Infinity, 0]
  expect(measureCloseness(exact, exact, exact).ok).toBe(true)
})

test('a tensor of another shape or length fails', () => {
  expect(() => expect({ data: reference.exact, shape: [1, 3] }).toMatchOracle(reference)).toThrow(
    'expected shape [3], got [1, 3]',
  )
  expect(() => expect([1, -2]).toMatchOracle(reference)).toThrow('expected 3 elements, got 2')
})

test('the WebGPU rule is per element', () => {
  const exact = Float64Array.of(1000, 1)
  expect(measureCloseness([1000.009, 1], exact, exact, webgpuTolerance).ok).toBe(true)
  expect(measureCloseness([1000, 1.00003], exact, exact, webgpuTolerance)).toMatchObject({ ok: false, worstIndex: 1 })
})

test('pooling takes the largest plain error of all', () => {
  const tight = { exact: Float64Array.of(1), plain: Float64Array.of(1), shape: [1] }
  expect(measureCloseness([1.001], tight.exact, tight.plain).ok).toBe(false)
  expect([1.001, 1, -2, 100]).toMatchOracle(pooled([tight, reference]))
})

test('seeded numbers repeat, and have the mean and spread they should', () => {
  const [a, b] = [new Random(5), new Random(5)]
  const normals = Array.from({ length: 20_000 }, () => a.normal())
  expect(normals.slice(0, 50)).toEqual(Array.from({ length: 50 }, () => b.normal()))
  const mean = normals.reduce((sum, x) => sum + x, 0) / normals.length
  const variance = normals.reduce((sum, x) => sum + (x - mean) ** 2, 0) / normals.length
  expect(Math.abs(mean)).toBeLessThan(0.03)
  expect(Math.abs(variance - 1)).toBeLessThan(0.05)
})

describe('arrays of equal bytes', () => {
  const array = Float32Array.of(1, NaN, -0)

  test('are equal, also in other places of their memory', () => {
    expect(array).toEqual(Float32Array.of(7, 1, NaN, -0).subarray(1))
  })

  test.each([
    ['another element', Float32Array.of(1, NaN, -2)],
    ['another sign of zero', Float32Array.of(1, NaN, 0)],
    ['another length', Float32Array.of(1, NaN)],
    ['another type over the same bytes', new Uint32Array(array.buffer)],
  ])('are not equal to %s', (_, other) => {
    expect(array).not.toEqual(other)
  })
})
