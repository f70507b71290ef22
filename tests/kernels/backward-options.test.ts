import { describe, expect, test } from 'vitest'
import { Random } from '../support/random.ts'
import { bytesOf, filled, normalTensor } from '../support/tensors.ts'
import { inputsOf, optionCases, peakedInputs } from './attention-cases.ts'
import { expectBackwardLane, expectTransposedLane, runBackwardLane, runTransposedLane } from './backward-lane.ts'
import { binaries, runLane } from './kernel-lane.ts'

const small = { M: 13, N: 30, D: 5, Dv: 6 }
/** Two tiles of rows and two blocks of keys, each with a rest. */
const large = { M: 83, N: 301, D: 9, Dv: 7 }

/** Made once for both binaries, which are held against the same references. */
const cases = [small, large].map((sizes) => ({
  sizes,
  inputs: peakedInputs(sizes, 31),
  dOutput: normalTensor(new Random(32), [sizes.M, sizes.Dv]),
  rows: normalTensor(new Random(33), [sizes.M, 3]),
  options: optionCases(sizes, 34),
}))
const three = { M: 83, N: 700, D: 9, Dv: 7 }
const segments = {
  inputs: inputsOf(three, 35),
  dOutput: normalTensor(new Random(36), [three.M, three.Dv]),
  rows: normalTensor(new Random(37), [three.M, 10]),
  options: optionCases(three, 38),
}

describe.each(binaries)('%s', (binary) => {
  describe.each(cases)('$sizes', ({ inputs, dOutput, rows, options: all }) => {
    describe.each(all)('$name', ({ options }) => {
      test('gradients', () => expectBackwardLane(inputs, dOutput, options, { binary }))

      test('Pᵀ·X, and Pᵀ·1', async () => {
        await expectTransposedLane(inputs, rows, options, { binary })
        await expectTransposedLane(inputs, undefined, options, { binary })
      })
    })
  })

  describe('key segments', () => {
    const { inputs, dOutput, rows } = segments

    test.each(segments.options)('$name: the same bits of dK, dV and Pᵀ·X in three as in one', async ({ options }) => {
      const [whole, cut] = [
        await runBackwardLane(inputs, dOutput, options, { binary }),
        await runBackwardLane(inputs, dOutput, options, { binary, cuts: [256, 512] }),
      ]
      expect(bytesOf(cut.dKey)).toEqual(bytesOf(whole.dKey))
      expect(bytesOf(cut.dValue)).toEqual(bytesOf(whole.dValue))
      // dQ sums what the segments add, in another order: it is held against the reference.
      await expectBackwardLane(inputs, dOutput, options, { binary, cuts: [256, 512] })
      const columns = await runTransposedLane(inputs, rows, options, { binary })
      expect(bytesOf(await runTransposedLane(inputs, rows, options, { binary, cuts: [256, 512] }))).toEqual(
        bytesOf(columns),
      )
    })
  })

  test('a scale that no log-sum-exp can be divided by', async () => {
    const inputs = inputsOf(small, 39)
    const dOutput = normalTensor(new Random(40), [small.M, small.Dv])
    for (const scale of [0, 1e-30, -1e-9]) await expectBackwardLane(inputs, dOutput, { scale }, { binary })
  })

  test('where a row sees one key, its weight is off by the rounding of the log-sum-exp alone, not by that of its quotient too', async () => {
    const M = 500
    const query = filled([M, 3], (at) => (at % 3 === 0 ? 150 + Math.sin(at) * 35 : 0))
    const key = filled([M, 3], (at) => (at % 3 === 0 ? 1 : 0))
    const options = { causal: true, window: { before: 0 } }
    const { logSumExp } = await runLane({ query, key, value: key }, options, { binary })
    expect(logSumExp.every((x) => x > 64 && x < 128)).toBe(true)
    const weights = await runTransposedLane({ query, key, value: key }, undefined, options, { binary })
    // Half a unit in the last place below 128, and a little for exp.
    for (const weight of weights) expect(Math.abs(weight - 1)).toBeLessThan(2 ** -18 + 5e-7)
  })

  test('tiles that no query may see are skipped, and their keys have zero gradients', async () => {
    const sizes = { M: 130, N: 600, D: 4, Dv: 4 }
    const inputs = inputsOf(sizes, 41)
    const dOutput = normalTensor(new Random(42), [sizes.M, sizes.Dv])
    const { dKey, dValue } = await runBackwardLane(
      inputs,
      dOutput,
      { causal: true, bias: normalTensor(new Random(43), [sizes.M, sizes.N]) },
      { binary },
    )
    expect(dKey.subarray(130 * 4).every((x) => Object.is(x, 0))).toBe(true)
    expect(dValue.subarray(130 * 4).every((x) => Object.is(x, 0))).toBe(true)
    expect(dKey.subarray(0, 129 * 4).every((x) => x !== 0)).toBe(true)
  })
})
