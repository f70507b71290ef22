import { describe, expect, test } from 'vitest'
import { maskTensor } from '../support/tensors.ts'
import { Random } from '../support/random.ts'
import { bytesOf } from '../support/tensors.ts'
import type { AttentionInputs, MathOptions } from '../support/problem.ts'
import { inputsOf } from './attention-cases.ts'
import { expectLane } from './expect-lane.ts'
import { binaries, runLane } from './kernel-lane.ts'

const sizes = { M: 21, N: 270, D: 6, Dv: 5 }
const clean = inputsOf(sizes, 31)
const badKeys = [0, 3, 100, 255, 256, 269]

/** Every third column of some rows, so that sums of products meet both. */
function spoiled(
  inputs: AttentionInputs,
  name: keyof AttentionInputs,
  rows: readonly number[],
  bad: number,
): AttentionInputs {
  const { data, shape } = inputs[name]
  const width = shape[1] as number
  const copy = new Uint32Array(data.slice().buffer)
  const word = new Uint32Array(Float32Array.of(bad).buffer)[0] as number
  // A NaN with a payload: its low bits would be added to exponents.
  for (const row of rows)
    for (let column = row % 3; column < width; column += 3)
      copy[row * width + column] = Number.isNaN(bad) ? 0x7fc0beef : word
  return { ...inputs, [name]: { data: new Float32Array(copy.buffer), shape } }
}

const hidden: MathOptions = {
  mask: { data: Uint8Array.from({ length: sizes.N }, (_, j) => (badKeys.includes(j) ? 0 : 1)), shape: [1, sizes.N] },
}
const visibleToSome: MathOptions = { mask: maskTensor(new Random(3), [sizes.M, sizes.N], 0.5) }

describe.each(binaries)('%s', (binary) => {
  describe.each([NaN, Infinity, -Infinity, 3e38])('%f', (bad) => {
    test.each(['chunked', 'standard'] as const)('in masked keys and values it changes no bit: %s', async (mode) => {
      const dirty = spoiled(spoiled(clean, 'key', badKeys, bad), 'value', badKeys, bad)
      const [is, should] = [
        await runLane(dirty, hidden, { binary, mode, weightRows: [1] }),
        await runLane(clean, hidden, { binary, mode, weightRows: [1] }),
      ]
      for (const field of ['output', 'weights', 'logSumExp', 'entropy'] as const)
        expect(bytesOf(is[field]), field).toEqual(bytesOf(should[field]))
    })

    test('in a key that some rows see, the others keep their bits', async () => {
      const is = await runLane(spoiled(clean, 'key', [100], bad), visibleToSome, { binary })
      const should = await runLane(clean, visibleToSome, { binary })
      for (let row = 0; row < sizes.M; row++) {
        if (visibleToSome.mask?.data[row * sizes.N + 100] !== 0) continue
        const part = (of: Float32Array) => bytesOf(of.subarray(row * sizes.Dv, (row + 1) * sizes.Dv))
        expect(part(is.output), `row ${row}`).toEqual(part(should.output))
      }
    })
  })

  const cases: readonly { readonly name: string; readonly inputs: AttentionInputs; readonly options: MathOptions }[] = [
    { name: 'NaN in queries', inputs: spoiled(clean, 'query', [2, 9], NaN), options: {} },
    { name: 'NaN in a key', inputs: spoiled(clean, 'key', [100], NaN), options: visibleToSome },
    { name: 'NaN in a value', inputs: spoiled(clean, 'value', [100], NaN), options: visibleToSome },
    { name: '∞ in a value', inputs: spoiled(clean, 'value', [260], Infinity), options: visibleToSome },
    {
      name: '∞ in a value, dropped for some rows',
      inputs: spoiled(clean, 'value', [260], Infinity),
      options: { dropout: { probability: 0.5, seed: 9 } },
    },
    { name: '∞ in queries', inputs: spoiled(clean, 'query', [2, 9], Infinity), options: {} },
    {
      name: 'a softcap over NaN',
      inputs: spoiled(clean, 'key', [100], NaN),
      options: { ...visibleToSome, softcap: 5 },
    },
  ]
  describe.each(cases)('$name', ({ inputs, options }) => {
    test.each(['chunked', 'standard'] as const)('propagates as IEEE says: %s', async (mode) => {
      const { output } = await expectLane(inputs, options, { binary, mode, statistics: false })
      expect(output.some(Number.isNaN) || output.some((x) => !Number.isFinite(x))).toBe(true)
      expect(output.some(Number.isFinite)).toBe(true)
    })
  })

  test('very large finite queries and keys: products that overflow, as IEEE says', async () => {
    const big = {
      ...clean,
      query: { ...clean.query, data: clean.query.data.map((x) => x * 1e25) },
      key: { ...clean.key, data: clean.key.data.map((x) => x * 1e25) },
    }
    const { output } = await runLane(big, {}, { binary })
    expect(output.every(Number.isNaN)).toBe(true)
  })

  test('large finite queries and keys whose products are all −∞: NaN, and for other rows nothing', async () => {
    const value = (rows: number, x: (row: number) => number) => ({
      data: Float32Array.from({ length: rows * 2 }, (_, at) => x(at >> 1)),
      shape: [rows, 2],
    })
    const inputs = {
      query: value(9, (row) => (row === 4 ? 1e25 : 1)),
      key: value(20, () => -1e25),
      value: value(20, (row) => row),
    }
    const { output } = await runLane(inputs, {}, { binary, statistics: false })
    output.forEach((x, at) => expect(Number.isNaN(x), `row ${at >> 1}`).toBe(at >> 1 === 4))
  })

  test('no keys at all', async () => {
    await expectLane(inputsOf({ M: 9, N: 0, D: 3, Dv: 4 }, 1), {}, { binary })
  })
})
