import { describe, expect, test } from 'vitest'
import { attentionFixtures } from '../fixtures.ts'
import { backwardReference, transposedReference } from '../oracle-backward.ts'
import { attentionReference } from '../oracle.ts'
import { fullCase, singleCases } from '../option-cases.ts'
import { Random } from '../random.ts'
import { normalTensor } from '../tensors.ts'

test.each(attentionFixtures())(
  'gradients equal those of PyTorch’s autograd: $name',
  ({ inputs, options, dOutput, gradients }) => {
    const reference = backwardReference(inputs, dOutput, options)
    expect(Object.keys(reference).sort()).toEqual(Object.keys(gradients).sort())
    for (const [name, { exact, plain, shape }] of Object.entries(reference)) {
      const expected = gradients[name]!
      expect(shape, name).toEqual(expected.shape)
      const worst = exact.reduce(
        (most: number, x: number, at: number) => Math.max(most, Math.abs(x - expected.data[at]!)),
        0,
      )
      expect(worst, name).toBeLessThan(1e-13) // float64, other order of sums
      const rounded = plain.reduce(
        (most: number, x: number, at: number) => Math.max(most, Math.abs(x - expected.data[at]!)),
        0,
      )
      expect(rounded, name).toBeLessThan(1e-5)
    }
  },
)

describe('the oracle follows finite differences of the float64 forward', () => {
  const dims = { B: 2, H: 4, M: 5, N: 7 }
  const [Hkv, D, Dv] = [2, 3, 2]

  test.each([...singleCases, fullCase])('$name', ({ options: build }) => {
    const random = new Random(41)
    const { B, H, M, N } = dims
    const inputs = {
      query: normalTensor(random, [B, H, M, D]),
      key: normalTensor(random, [B, Hkv, N, D]),
      value: normalTensor(random, [B, Hkv, N, Dv]),
    }
    const options = build(random, dims)
    const dOutput = normalTensor(random, [B, H, M, Dv])
    const gradients = backwardReference(inputs, dOutput, options)
    const loss = (): number =>
      attentionReference(inputs, options).output.exact.reduce((sum, x, at) => sum + x * dOutput.data[at]!, 0)
    const slopes = options.alibiSlopes ?? new Float32Array(0)
    const pairs: [string, Float32Array, Float64Array][] = [
      ['dQuery', inputs.query.data, gradients.dQuery.exact],
      ['dKey', inputs.key.data, gradients.dKey.exact],
      ['dValue', inputs.value.data, gradients.dValue.exact],
      ['dBias', options.bias?.data ?? new Float32Array(0), gradients.dBias?.exact ?? new Float64Array(0)],
      ['dAlibiSlopes', slopes, gradients.dAlibiSlopes?.exact ?? new Float64Array(0)],
    ]
    for (const [name, data, gradient] of pairs) {
      for (let at = random.integer(0, 2); at < data.length; at += 5) {
        if (!Number.isFinite(data[at]!)) continue
        const difference = centralDifference(data, at, loss)
        // The steps are not quite alike in float32: some 2⁻²² of the second derivative.
        expect(Math.abs(difference - gradient[at]!), `${name}[${at}]: ${difference} and ${gradient[at]}`).toBeLessThan(
          1e-5 * Math.max(1, Math.abs(difference)),
        )
      }
    }
  })
})

/** (f(x + h) − f(x − h)) / 2h, with the h that float32 can hold. */
function centralDifference(data: Float32Array, at: number, f: () => number): number {
  const x = data[at]!
  const values = [x + 2 ** -13, x - 2 ** -13].map((moved) => {
    data[at] = moved
    return { at: data[at], value: f() }
  })
  data[at] = x
  const [up, down] = values as [{ at: number; value: number }, { at: number; value: number }]
  return (up.value - down.value) / (up.at - down.at)
}

test('Pᵀ·X is what the weights say, per query head', () => {
  const random = new Random(42)
  const inputs = {
    query: normalTensor(random, [2, 5, 4 * 3]),
    key: normalTensor(random, [2, 6, 2 * 3]),
    value: normalTensor(random, [2, 6, 2 * 3]),
  }
  const rows = normalTensor(random, [2, 5, 4 * 2])
  const options = { heads: 4, keyValueHeads: 2, causal: true }
  const { weights } = attentionReference(inputs, options)
  const { exact, shape } = transposedReference(inputs, rows, options)
  expect(shape).toEqual([2, 6, 8])
  // Batch 1, head 3, key 2, column 1.
  let sum = 0
  for (let i = 0; i < 5; i++)
    sum += weights.exact[((1 * 4 + 3) * 5 + i) * 6 + 2]! * rows.data[(1 * 5 + i) * 8 + 3 * 2 + 1]!
  expect(exact[(1 * 6 + 2) * 8 + 3 * 2 + 1]).toBeCloseTo(sum, 12)
  const received = transposedReference(inputs, undefined, options)
  expect(received.shape).toEqual([2, 6, 4])
  expect(received.exact.reduce((total, x) => total + x, 0)).toBeCloseTo(2 * 4 * 5, 12)
})
