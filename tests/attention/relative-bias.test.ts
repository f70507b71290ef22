import { readFileSync } from 'node:fs'
import {
  bucketedRelativeBias,
  bucketTableGradient,
  OptionError,
  positionBuckets,
  ShapeError,
  type AttentionBackwardResult,
  type Runtime,
  type Tensor,
} from 'heddle'
import { describe, expect, test } from 'vitest'
import { worst } from '../nn/worst.ts'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { fingerprint, normalTensor } from '../support/tensors.ts'

interface PlainTensor {
  readonly shape: readonly number[]
  readonly data: readonly number[]
}

type Names = 'query' | 'key' | 'value' | 'table' | 'output' | 'dOutput' | 'dQuery' | 'dKey' | 'dValue' | 'dTable'

const fixture = JSON.parse(readFileSync(new URL('../fixtures/relative-bias.json', import.meta.url), 'utf8')) as {
  readonly tables: readonly {
    readonly bidirectional: boolean
    readonly buckets: number
    readonly maxDistance: number
    readonly bucketAt: readonly number[]
  }[]
  readonly cases: readonly (Readonly<Record<Names, PlainTensor>> & {
    readonly bidirectional: boolean
    readonly maxDistance: number
    readonly queryOffset: number
  })[]
}

const runtimes = {
  'the calling thread': useRuntime({ workers: 0 }),
  'two workers': useRuntime({ workers: 2 }),
  'two workers that share no memory': useRuntime({ workers: 2, sharedMemory: 'never' }),
}
const single = ({ shape, data }: PlainTensor): Tensor => ({ shape, data: Float32Array.from(data) })

describe('buckets', () => {
  test.each(fixture.tables)('of T5: $buckets up to $maxDistance, bidirectional: $bidirectional', (each) => {
    const { bidirectional, buckets, maxDistance, bucketAt } = each
    const own = positionBuckets(buckets, { bidirectional, maxDistance })
    // Three distances more at each end, which are in the last buckets too.
    const clamped = bucketAt.map((_, at) => own[Math.min(2 * maxDistance, Math.max(0, at - 3))])
    expect(clamped).toEqual(bucketAt)
  })

  test('of wrong sizes are refused', () => {
    expect(() => positionBuckets(3, { bidirectional: true })).toThrow(OptionError)
    expect(() => positionBuckets(8, { bidirectional: false, maxDistance: 4 })).toThrow(OptionError)
    expect(() => positionBuckets(8, {} as never)).toThrow('position buckets: option bidirectional')
    expect(() => bucketedRelativeBias({ data: new Float32Array(8), shape: [8] }, { bidirectional: true })).toThrow(
      ShapeError,
    )
    const gradient = { data: new Float32Array(9), shape: [1, 9] }
    expect(() => bucketTableGradient(gradient, 8, { bidirectional: true, maxDistance: 5 })).toThrow(OptionError)
  })
})

const SIZES = { B: 2, H: 3, M: 75, N: 283 }

/** The bias [B, H, M, N] of a table, written out. */
function written(table: Tensor, offsets: readonly number[], { B, H, M, N } = SIZES): Tensor {
  const width = table.shape.at(-1)!
  const most = (width - 1) / 2
  const tables = table.data.length / width
  const data = new Float32Array(B * H * M * N)
  data.forEach((_, at) => {
    const [b, h, i, j] = [Math.floor(at / (H * M * N)), Math.floor(at / (M * N)) % H, Math.floor(at / N) % M, at % N]
    const distance = j - i - (offsets[b] ?? offsets[0]!)
    const place = Math.max(-most, Math.min(most, distance)) + most
    data[at] = table.data[(tables === 1 ? 0 : h * width) + place]!
  })
  return { data, shape: [B, H, M, N] }
}

/** Sums of the gradient of a written bias, by distance. */
function summed(dBias: Tensor, table: Tensor, offsets: readonly number[], { H, M, N } = SIZES): Float64Array {
  const width = table.shape.at(-1)!
  const most = (width - 1) / 2
  const tables = table.data.length / width
  const sums = new Float64Array(table.data.length)
  dBias.data.forEach((value, at) => {
    const [b, h, i, j] = [Math.floor(at / (H * M * N)), Math.floor(at / (M * N)) % H, Math.floor(at / N) % M, at % N]
    const place = Math.max(-most, Math.min(most, j - i - (offsets[b] ?? offsets[0]!))) + most
    sums[(tables === 1 ? 0 : h * width) + place]! += value
  })
  return sums
}

const random = new Random(77)
const inputs = {
  query: normalTensor(random, [2, 3, 75, 12]),
  key: normalTensor(random, [2, 3, 283, 12]),
  value: normalTensor(random, [2, 3, 283, 12]),
}
const masking = normalTensor(random, [3, 41])
masking.data[4] = -Infinity
const cases: Record<string, { table: Tensor; options: object; offsets: readonly number[] }> = {
  'a table per head, clipped': { table: normalTensor(random, [3, 21]), options: {}, offsets: [0] },
  'one table, longer than the sequences': { table: normalTensor(random, [1, 801]), options: {}, offsets: [0] },
  'rank 1, causal behind a cache': {
    table: normalTensor(random, [41]),
    options: { causal: true, queryOffset: 208 },
    offsets: [208],
  },
  'an offset per batch, softcap, segments and −∞': {
    table: masking,
    options: {
      queryOffset: Int32Array.of(-5, 130),
      softcap: 2,
      segments: {
        query: { data: Int32Array.from({ length: 150 }, (_, at) => at % 3), shape: [2, 75] },
        key: { data: Int32Array.from({ length: 566 }, (_, at) => at % 4), shape: [2, 283] },
      },
    },
    offsets: [-5, 130],
  },
  'a window, key lengths and dropout': {
    table: normalTensor(random, [3, 121]),
    options: {
      window: { before: 90, after: 40 },
      keyLengths: Int32Array.of(283, 100),
      dropout: { probability: 0.2, seed: 5 },
    },
    offsets: [0],
  },
}

async function backward(runtime: Runtime, options: object): Promise<AttentionBackwardResult> {
  const { output, logSumExp } = await runtime.attention(inputs, { ...options, returnLogSumExp: true })
  const dOutput = normalTensor(new Random(9), output.shape)
  return runtime.attentionBackward({ ...inputs, output, logSumExp, dOutput }, options)
}

describe.each(Object.entries(runtimes))('on %s', (_name, runtime) => {
  test.each(Object.entries(cases))('%s: the bits are those of the bias written out', async (_, each) => {
    const { table, options, offsets } = each
    const own = { ...options, relativeBias: table }
    const dense = { ...options, bias: written(table, offsets) }
    for (const chunkSize of [undefined, 24]) {
      const chunks = chunkSize === undefined ? {} : { chunkSize }
      const asked = { returnLogSumExp: true, returnStatistics: true, returnWeights: { rows: [0, 70] } } as const
      const made = await runtime().attention(inputs, { ...own, ...chunks, ...asked })
      const expected = await runtime().attention(inputs, { ...dense, ...chunks, ...asked })
      expect(fingerprint(made.output.data)).toBe(fingerprint(expected.output.data))
      expect(fingerprint(made.weights.data)).toBe(fingerprint(expected.weights.data))
      expect(fingerprint(made.logSumExp.data)).toBe(fingerprint(expected.logSumExp.data))
      expect(made.report.memory.peakBytes).toBeLessThanOrEqual(made.report.memory.plannedBytes)
    }
  })

  test.each(Object.entries(cases))('%s: gradients are those of the bias written out', async (_, each) => {
    const { table, options, offsets } = each
    const own = await backward(runtime(), { ...options, relativeBias: table })
    const dense = await backward(runtime(), { ...options, bias: written(table, offsets) })
    for (const name of ['dQuery', 'dKey', 'dValue'] as const)
      expect(fingerprint(own[name].data), name).toBe(fingerprint(dense[name].data))
    expect(own.dBias).toBeUndefined()
    expect(own.dRelativeBias!.shape).toEqual(table.shape)
    // Float32 sums of up to 75 × 283 × 3 × 2 numbers of about 0.01, in another order than these of float64.
    expect(worst(own.dRelativeBias!.data, summed(dense.dBias!, table, offsets))).toBeLessThan(2e-5)
    expect(own.report.memory.peakBytes).toBeLessThanOrEqual(own.report.memory.plannedBytes)
  })

  test.each(fixture.cases.map((each, at) => [at, each] as const))(
    'T5 in PyTorch, case %i: output, gradients and that of the table of buckets',
    async (_at, each) => {
      const { bidirectional, maxDistance, queryOffset } = each
      const buckets = { bidirectional, maxDistance }
      const tensors = { query: single(each.query), key: single(each.key), value: single(each.value) }
      const relativeBias = bucketedRelativeBias(single(each.table), buckets)
      const options = { scale: 1, queryOffset, causal: !bidirectional, relativeBias }
      const { output, logSumExp } = await runtime().attention(tensors, { ...options, returnLogSumExp: true })
      expect(worst(output.data, each.output.data)).toBeLessThan(2e-6)
      const dOutput = single(each.dOutput)
      const call = { ...tensors, output, logSumExp, dOutput }
      const gradients = await runtime().attentionBackward(call, options)
      for (const name of ['dQuery', 'dKey', 'dValue'] as const)
        expect(worst(gradients[name].data, each[name].data), name).toBeLessThan(1e-5)
      const dTable = bucketTableGradient(gradients.dRelativeBias!, each.table.shape[0]!, buckets)
      expect(dTable.shape).toEqual(each.table.shape)
      expect(worst(dTable.data, each.dTable.data)).toBeLessThan(1e-5)
    },
  )
})

test('the gradient adds up over the key segments of a head', async () => {
  const sizes = { B: 1, H: 1, M: 40, N: 2100 }
  const given = {
    query: normalTensor(random, [1, 1, 40, 4]),
    key: normalTensor(random, [1, 1, 2100, 4]),
    value: normalTensor(random, [1, 1, 2100, 4]),
  }
  const relativeBias = normalTensor(random, [1, 3001])
  const runtime = runtimes['two workers']()
  const { output, logSumExp } = await runtime.attention(given, { relativeBias, returnLogSumExp: true })
  const call = { ...given, output, logSumExp, dOutput: normalTensor(random, output.shape) }
  const own = await runtime.attentionBackward(call, { relativeBias })
  const dense = await runtime.attentionBackward(call, { bias: written(relativeBias, [0], sizes) })
  expect(own.report.tasks).toBe(3)
  // Float32 sums of up to 40 numbers; the largest of them are about 0.1.
  expect(worst(own.dRelativeBias!.data, summed(dense.dBias!, relativeBias, [0], sizes))).toBeLessThan(1e-6)
  // Three segments of keys, and in each a sum per diagonal.
  expect(own.report.plan.bytes['bias sums']).toBe(4 * (2100 + 3 * 39))
})

test('the gradient has the same bits for any pool, and can be left out', async () => {
  const options = { relativeBias: normalTensor(new Random(3), [3, 31]), causal: true }
  const all = await Promise.all(Object.values(runtimes).map((runtime) => backward(runtime(), options)))
  for (const { dRelativeBias } of all) expect(dRelativeBias!.data).toEqual(all[0]!.dRelativeBias!.data)
  const without = await runtimes['two workers']().attention(inputs, { ...options, returnLogSumExp: true })
  const call = { ...inputs, ...without, dOutput: without.output }
  const { query, key, value, output, logSumExp, dOutput } = call
  const { dRelativeBias } = await runtimes['two workers']().attentionBackward(
    { query, key, value, output, logSumExp, dOutput },
    { ...options, biasGradient: false },
  )
  expect(dRelativeBias).toBeUndefined()
})

test('memory is that of the rows and keys, not of their pairs', () => {
  const [H, n] = [2, 6000]
  const plan = runtimes['two workers']().plan(
    { query: [1, H, n, 8], key: [1, H, n, 8], value: [1, H, n, 8] },
    { relativeBias: normalTensor(random, [H, 257]) },
  )
  expect(plan.bytes['input copies'] ?? 0).toBeLessThan(4 * H * (3 * n * 8 + 2 * n) + 1)
})

describe('refused', () => {
  const call = (options: object) => runtimes['the calling thread']().attention(inputs, options)
  const table = (...shape: number[]): Tensor => ({
    data: new Float32Array(shape.reduce((a, b) => a * b, 1)),
    shape,
  })
  test.each([
    ['an even width', table(3, 20)],
    ['a table for another number of heads', table(2, 21)],
    ['three axes', table(1, 3, 21)],
    ['nothing', table(0)],
  ])('%s', async (_name, relativeBias) => {
    await expect(call({ relativeBias })).rejects.toThrow(ShapeError)
    await expect(call({ relativeBias })).rejects.toThrow(/option relativeBias: expected \[3, 2·most \+ 1\]/)
  })

  test('a bias beside it, and other types', async () => {
    const both = { relativeBias: table(3, 21), bias: table(75, 283) }
    await expect(call(both)).rejects.toThrow(/expected bias or relativeBias, got "both"/)
    await expect(call({ relativeBias: [1, 2, 3] })).rejects.toThrow(OptionError)
  })
})
