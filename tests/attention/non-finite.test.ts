import type { AttentionOptions, Tensor } from 'heddle'
import { describe, expect, test } from 'vitest'
import { expectOracle } from '../support/expect-attention.ts'
import type { AttentionInputs, MathOptions } from '../support/problem.ts'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { bytesOf, filled, normalTensor } from '../support/tensors.ts'

const runtime = useRuntime({ workers: 2 })
const [M, N, D] = [70, 300, 8]
const random = new Random(61)
const clean = {
  query: normalTensor(random, [M, D]),
  key: normalTensor(random, [N, D]),
  value: normalTensor(random, [N, D]),
}
const badRows = [0, 3, 64, 65, 255, 256, 299]

function withRows(tensor: Tensor, rows: readonly number[], value: number, columns = [0, 3, D - 1]): Tensor {
  const data = tensor.data.slice()
  for (const row of rows) for (const column of columns) data[row * D + column] = value
  return { data, shape: tensor.shape }
}

const maskOf = (masked: readonly number[]): Tensor<Uint8Array> => ({
  data: Uint8Array.from({ length: N }, (_, j) => (masked.includes(j) ? 0 : 1)),
  shape: [1, N],
})

describe('in masked keys and values: the same bits as with numbers there', () => {
  const ways: readonly { way: string; options: AttentionOptions; rows: readonly number[] }[] = [
    { way: 'mask', options: { mask: maskOf(badRows) }, rows: badRows },
    {
      way: 'bias of −∞',
      options: { bias: filled([1, N], (j) => (badRows.includes(j) ? -Infinity : 0)) },
      rows: badRows,
    },
    { way: 'key lengths', options: { keyLengths: Int32Array.of(250) }, rows: [250, 251, 255, 256, 299] },
    { way: 'causal', options: { causal: true, queryOffset: 100 }, rows: [170, 171, 255, 299] },
    { way: 'window', options: { window: { before: 20, after: 20 }, queryOffset: 100 }, rows: [0, 64, 79, 190, 299] },
    {
      way: 'segments',
      options: {
        segments: {
          query: { data: new Int32Array(M).fill(4), shape: [1, M] },
          key: { data: Int32Array.from({ length: N }, (_, j) => (badRows.includes(j) ? 5 : 4)), shape: [1, N] },
        },
      },
      rows: badRows,
    },
  ]
  const asked = { returnLogSumExp: true, returnStatistics: true } as const
  describe.each(ways)('$way', ({ options, rows }) => {
    test.each([NaN, Infinity, -Infinity])('%f', async (bad) => {
      for (const mode of ['chunked', 'standard'] as const) {
        const dirty = {
          query: clean.query,
          key: withRows(clean.key, rows, bad),
          value: withRows(clean.value, rows, bad),
        }
        const expected = await runtime().attention(clean, { ...options, ...asked, mode })
        const actual = await runtime().attention(dirty, { ...options, ...asked, mode })
        expect(bytesOf(actual.output.data)).toEqual(bytesOf(expected.output.data))
        expect(bytesOf(actual.logSumExp.data)).toEqual(bytesOf(expected.logSumExp.data))
        for (const name of ['entropy', 'maxWeight', 'maxIndex', 'meanDistance'] as const) {
          expect(bytesOf(actual.statistics[name].data), name).toEqual(bytesOf(expected.statistics[name].data))
        }
      }
    })
  })

  test('and in the rows of a fully masked query', async () => {
    const query = withRows(clean.query, [2, 66], NaN)
    const mask: Tensor<Uint8Array> = {
      data: Uint8Array.from({ length: M }, (_, i) => (i === 2 || i === 66 ? 0 : 1)),
      shape: [M, 1],
    }
    await expectOracle(runtime(), { ...clean, query }, { mask })
  })
})

describe('at an allowed key they propagate as IEEE says', () => {
  // rows see keys up to i + 100: rows below 65 do not see 165
  const scoresWithin: MathOptions = { causal: true, queryOffset: 100 }
  const cases: readonly { name: string; inputs: AttentionInputs; options: MathOptions }[] = [
    { name: 'NaN in a key', inputs: { ...clean, key: withRows(clean.key, [165], NaN) }, options: scoresWithin },
    { name: 'NaN in a value', inputs: { ...clean, value: withRows(clean.value, [165], NaN) }, options: scoresWithin },
    {
      name: '∞ in a value',
      inputs: { ...clean, value: withRows(clean.value, [165], Infinity, [2]) },
      options: scoresWithin,
    },
    {
      name: '−∞ in a value',
      inputs: { ...clean, value: withRows(clean.value, [165], -Infinity, [2]) },
      options: scoresWithin,
    },
    { name: 'NaN in queries', inputs: { ...clean, query: withRows(clean.query, [1, 69], NaN) }, options: {} },
    {
      name: 'NaN in a bias',
      inputs: clean,
      options: { bias: filled([N], (j) => (j === 130 ? NaN : 0)), causal: true, queryOffset: 100 },
    },
    {
      name: '+∞ in a bias',
      inputs: clean,
      options: { bias: filled([N], (j) => (j === 130 ? Infinity : 0)), causal: true, queryOffset: 100 },
    },
    {
      name: '∞ in a key: scores of ±∞',
      inputs: { ...clean, key: withRows(clean.key, [165], Infinity, [1]) },
      options: scoresWithin,
    },
    {
      name: '∞ in a key under a softcap: scores of ±softcap',
      inputs: { ...clean, key: withRows(clean.key, [165], Infinity, [1]) },
      options: { ...scoresWithin, softcap: 3 },
    },
    {
      name: 'scale 0 times ∞ is NaN',
      inputs: { ...clean, key: withRows(clean.key, [165], Infinity, [1]) },
      options: { ...scoresWithin, scale: 0 },
    },
    {
      name: 'only scores of −∞ at allowed keys: NaN, for the row is not empty',
      inputs: {
        query: filled([M, D], () => 1),
        key: filled([N, D], (at) => (Math.floor(at / D) < 110 ? -Infinity : 1)),
        value: clean.value,
      },
      options: scoresWithin,
    },
  ]
  test.each(cases)('$name', async ({ inputs, options }) => {
    const { output } = await expectOracle(runtime(), inputs, { ...options, chunkSize: 16 })
    const finiteEverywhere = output.exact.every(Number.isFinite)
    expect(finiteEverywhere).toBe(options.softcap !== undefined)
  })
})
