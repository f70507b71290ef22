import { describe, expect, test } from 'vitest'
import { attentionReference, type Reference } from '../support/oracle.ts'
import { fullCase } from '../support/option-cases.ts'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { normalTensor } from '../support/tensors.ts'

const runtime = useRuntime({ workers: 2 })
const dims = { B: 2, H: 3, M: 30, N: 41 }
const random = new Random(31)
const inputs = {
  query: normalTensor(random, [2, 3, 30, 8]),
  key: normalTensor(random, [2, 3, 41, 8]),
  value: normalTensor(random, [2, 3, 41, 4]),
}
const options = { ...fullCase.options(random, dims), chunkSize: 8 }

/** [B, heads, rows, N] out of [B, H, M, N]. */
function select(
  { exact, plain }: Reference,
  { B, H, M, N }: typeof dims,
  heads: readonly number[],
  rows: readonly number[],
): Reference {
  const pick = (all: Float64Array) => {
    const starts = Array.from({ length: B }, (_, b) =>
      heads.map((h) => rows.map((i) => ((b * H + h) * M + i) * N)),
    ).flat(2)
    return Float64Array.from(starts.flatMap((start) => [...all.subarray(start, start + N)]))
  }
  return { exact: pick(exact), plain: pick(plain), shape: [B, heads.length, rows.length, N] }
}

const all = { heads: [0, 1, 2], rows: Array.from({ length: dims.M }, (_, i) => i) }

describe.each(['chunked', 'standard'] as const)('%s mode', (mode) => {
  test.each([
    ['some heads and rows', { heads: [0, 2], rows: [0, 7, 8, 29] }],
    ['one', { heads: [1], rows: [13] }],
    ['in the order of the lists', { heads: [2, 0], rows: [20, 3, 11] }],
    ['rows of all heads', { rows: [5, 6] }],
    ['heads with all rows', { heads: [1] }],
    ['all heads and rows', all],
  ])('returns %s as [B, heads, rows, N]', async (_, selection: { heads?: number[]; rows?: number[] }) => {
    const expected = select(
      attentionReference(inputs, options).weights,
      dims,
      selection.heads ?? all.heads,
      selection.rows ?? all.rows,
    )
    const { weights } = await runtime().attention(inputs, { ...options, mode, returnWeights: selection })
    expect(weights).toMatchOracle(expected)
  })

  test('an empty list gives no rows', async () => {
    const { weights } = await runtime().attention(inputs, { ...options, mode, returnWeights: { heads: [0], rows: [] } })
    expect(weights?.shape).toEqual([2, 1, 0, 41])
    expect(weights?.data.length).toBe(0)
  })

  test('is [B, heads, rows, N] in the layouts without heads too', async () => {
    const flat = normalTensor(random, [12, 4])
    const reference = attentionReference({ query: flat, key: flat, value: flat }, { causal: true })
    const selected = select(reference.weights, { B: 1, H: 1, M: 12, N: 12 }, [0], [2, 9])
    const result = await runtime().attention(
      { query: flat, key: flat, value: flat },
      { causal: true, mode, returnWeights: { rows: [2, 9] } },
    )
    expect(result.weights).toMatchOracle(selected)
  })
})

test('auto is standard for the whole matrix and chunked otherwise', async () => {
  const modeOf = async (extra: object) => (await runtime().attention(inputs, { ...options, ...extra })).report.mode
  expect(await modeOf({})).toBe('chunked')
  expect(await modeOf({ mode: 'auto', returnWeights: { rows: [1] } })).toBe('chunked')
  expect(await modeOf({ returnWeights: true })).toBe('standard')
  expect(await modeOf({ mode: 'auto', returnWeights: true })).toBe('standard')
  expect(await modeOf({ mode: 'standard' })).toBe('standard')
})

test('weights are those before dropout: rows sum to one or to zero', async () => {
  const { weights } = await runtime().attention(inputs, { ...options, returnWeights: true })
  const sums = Array.from({ length: 180 }, (_, row) =>
    weights.data.subarray(row * 41, (row + 1) * 41).reduce((a, b) => a + b, 0),
  )
  expect(sums.some((sum) => sum > 0)).toBe(true)
  for (const sum of sums) expect(sum === 0 || Math.abs(sum - 1) < 1e-5).toBe(true)
})
