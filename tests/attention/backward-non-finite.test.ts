import type { Tensor } from 'heddle'
import { beforeAll, describe, expect, test } from 'vitest'
import { expectGradients } from '../support/expect-backward.ts'
import { forwardFor, gradientBits, type BackwardInputs } from '../support/gradient-checks.ts'
import type { AttentionInputs, MathOptions } from '../support/problem.ts'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { filled, fingerprint, normalTensor } from '../support/tensors.ts'

const runtime = useRuntime({ workers: 2 })
const [M, N, D] = [70, 300, 8]
const random = new Random(331)
const clean = {
  query: normalTensor(random, [M, D]),
  key: normalTensor(random, [N, D]),
  value: normalTensor(random, [N, D]),
}
const badRows = [0, 3, 64, 65, 255, 256, 299]

function withRows(tensor: Tensor, rows: readonly number[], value: number, columns = [0, 3, D - 1]): Tensor {
  const data = tensor.data.slice()
  const width = tensor.shape.length === 1 ? 1 : D
  for (const row of rows) for (const column of width === 1 ? [0] : columns) data[row * width + column] = value
  return { data, shape: tensor.shape }
}

const maskOf = (masked: readonly number[]): Tensor<Uint8Array> => ({
  data: Uint8Array.from({ length: N }, (_, j) => (masked.includes(j) ? 0 : 1)),
  shape: [1, N],
})

describe('in masked keys and values: the same bits as with numbers there', () => {
  const ways: readonly { way: string; options: MathOptions; rows: readonly number[] }[] = [
    { way: 'mask', options: { mask: maskOf(badRows) }, rows: badRows },
    {
      way: 'bias of −∞',
      options: { bias: filled([1, N], (j) => (badRows.includes(j) ? -Infinity : 0)) },
      rows: badRows,
    },
    {
      way: 'matrix bias of −∞',
      options: { bias: filled([M, N], (at) => (badRows.includes(at % N) ? -Infinity : 0.25)) },
      rows: badRows,
    },
    { way: 'key lengths', options: { keyLengths: Int32Array.of(250) }, rows: [250, 251, 255, 256, 299] },
    { way: 'causal', options: { causal: true, queryOffset: 100 }, rows: [170, 171, 255, 299] },
    {
      way: 'window, softcap, ALiBi',
      options: { window: { before: 20, after: 20 }, queryOffset: 100, softcap: 4, alibiSlopes: Float32Array.of(0.1) },
      rows: [0, 64, 79, 190, 299],
    },
    {
      way: 'segments and dropout',
      options: {
        dropout: { probability: 0.4, seed: 9 },
        segments: {
          query: { data: new Int32Array(M).fill(4), shape: [1, M] },
          key: { data: Int32Array.from({ length: N }, (_, j) => (badRows.includes(j) ? 5 : 4)), shape: [1, N] },
        },
      },
      rows: badRows,
    },
  ]
  describe.each(ways)('$way', ({ options, rows }) => {
    test.each([NaN, Infinity, -Infinity])('%f', async (bad) => {
      const call = await forwardFor(runtime(), clean, options)
      const dirty = { ...call, key: withRows(clean.key, rows, bad), value: withRows(clean.value, rows, bad) }
      const [expected, actual] = [
        await runtime().attentionBackward(call, options),
        await runtime().attentionBackward(dirty, options),
      ]
      expect(gradientBits(actual)).toBe(gradientBits(expected))
      const transposed = ({ query, key, logSumExp, dOutput }: BackwardInputs) =>
        runtime().attentionTransposed({ query, key, logSumExp, rows: dOutput }, options)
      expect(fingerprint((await transposed(dirty)).output.data)).toBe(fingerprint((await transposed(call)).output.data))
    })
  })
})

describe('a row whose log-sum-exp is −∞ adds nothing, whatever its query and dO hold', () => {
  const mask: Tensor<Uint8Array> = {
    data: Uint8Array.from({ length: M }, (_, i) => (i === 2 || i === 66 ? 0 : 1)),
    shape: [M, 1],
  }
  const ways: [string, MathOptions][] = [
    ['mask of its row', { mask }],
    ['mask and a bias', { mask, bias: normalTensor(random, [M, N]) }],
    ['mask and a bias of one row', { mask, bias: normalTensor(random, [1, N]) }],
  ]

  test.each(ways)('%s', async (_, options) => {
    const call = await forwardFor(runtime(), clean, options)
    expect(call.logSumExp.data[2]).toBe(-Infinity)
    const dirty = {
      ...call,
      query: withRows(call.query, [2, 66], NaN),
      dOutput: withRows(call.dOutput, [2, 66], NaN),
      output: withRows(call.output, [2, 66], NaN),
    }
    const [expected, actual] = [
      await runtime().attentionBackward(call, options),
      await runtime().attentionBackward(dirty, options),
    ]
    expect(gradientBits(actual)).toBe(gradientBits(expected))
    expect([...actual.dQuery.data.subarray(2 * D, 3 * D)]).toEqual(new Array(D).fill(0))
  })

  test('even where masks would let it see keys', async () => {
    const call = await forwardFor(runtime(), clean)
    const logSumExp = withRows(call.logSumExp, [5], -Infinity)
    const without = await runtime().attentionBackward({ ...call, logSumExp })
    const withNaN = await runtime().attentionBackward({ ...call, logSumExp, dOutput: withRows(call.dOutput, [5], NaN) })
    expect(gradientBits(withNaN)).toBe(gradientBits(without))
    expect([...without.dQuery.data.subarray(5 * D, 6 * D)]).toEqual(new Array(D).fill(0))
  })
})

describe('NaN where it counts goes to its own dQ and to the keys it sees, and no further', () => {
  const options = { causal: true, queryOffset: 100 }
  let call: BackwardInputs
  let finite: Awaited<ReturnType<ReturnType<typeof runtime>['attentionBackward']>>
  beforeAll(async () => {
    call = await forwardFor(runtime(), clean, options)
    finite = await runtime().attentionBackward(call, options)
  })

  test.each(['logSumExp', 'dOutput', 'output'] as const)('%s of row 10', async (name) => {
    const { dQuery, dKey, dValue } = await runtime().attentionBackward(
      { ...call, [name]: withRows(call[name], [10], NaN, [0]) },
      options,
    )
    dQuery.data.forEach((x, at) =>
      Math.floor(at / D) === 10 ? expect(x).toBeNaN() : expect(x).toBe(finite.dQuery.data[at]),
    )
    // Row 10 stands at position 110.
    dKey.data.forEach((x, at) =>
      Math.floor(at / D) <= 110 ? expect(x).toBeNaN() : expect(x).toBe(finite.dKey.data[at]),
    )
    dValue.data.forEach((x, at) => {
      const reached = Math.floor(at / D) <= 110 && (name === 'logSumExp' || (name === 'dOutput' && at % D === 0))
      if (reached) expect(x).toBeNaN()
      else expect(x).toBe(finite.dValue.data[at])
    })
  })

  const cases: readonly { name: string; inputs: AttentionInputs; options: MathOptions }[] = [
    { name: 'NaN in a key', inputs: { ...clean, key: withRows(clean.key, [165], NaN) }, options },
    { name: 'NaN in a value', inputs: { ...clean, value: withRows(clean.value, [165], NaN) }, options },
    { name: 'NaN in queries', inputs: { ...clean, query: withRows(clean.query, [1, 69], NaN) }, options: {} },
    { name: 'NaN in a bias', inputs: clean, options: { bias: filled([N], (j) => (j === 130 ? NaN : 0)), ...options } },
    { name: 'very large values', inputs: { ...clean, value: withRows(clean.value, [165], 2 ** 60) }, options },
  ]
  test.each(cases)('$name, as the oracle has it', async ({ inputs, options: more }) => {
    await expectGradients(runtime(), inputs, more)
  })
})
