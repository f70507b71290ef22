import { readFileSync } from 'node:fs'
import { OptionError, type Tensor } from 'heddle'
import { Module, pool, type Graph, type RowPooling, type Value } from 'heddle/nn'
import { describe, expect, test } from 'vitest'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { normalTensor } from '../support/tensors.ts'
import { worst } from './worst.ts'

interface PoolingCase {
  readonly pooling: RowPooling
  readonly count: number
  readonly vectors: readonly number[]
  readonly dVectors: readonly number[]
  readonly dRows: readonly number[]
}

const fixture = JSON.parse(readFileSync(new URL('../fixtures/pooling.json', import.meta.url), 'utf8')) as {
  readonly shape: readonly number[]
  readonly rows: readonly number[]
  readonly segments: readonly number[]
  readonly cases: readonly PoolingCase[]
}

class Pooled extends Module<Float32Array> {
  readonly inputDim: number

  constructor(
    readonly pooling: RowPooling,
    shape: readonly number[],
    private readonly segments: { readonly count?: number; readonly numbers?: Int32Array } = {},
  ) {
    super()
    this.inputDim = shape.at(-1)!
  }

  override build(graph: Graph, input: Value): Value {
    return pool(graph, input, this.pooling, this.segments)
  }
}

const runtimes = {
  'the calling thread': useRuntime({ workers: 0 }),
  'two workers': useRuntime({ workers: 2 }),
  'two workers that share no memory': useRuntime({ workers: 2, sharedMemory: 'never' }),
}

describe.each(Object.entries(runtimes))('on %s', (_name, runtime) => {
  test.each(fixture.cases.map((each) => [each.pooling, each.count, each] as const))(
    '%s of %i segments: vectors and gradients are PyTorch’s, where rows are equal too',
    async (pooling, count, { vectors, dVectors, dRows }) => {
      const rows: Tensor = { data: Float32Array.from(fixture.rows), shape: fixture.shape }
      const segments = count === 1 ? {} : { count, numbers: Int32Array.from(fixture.segments) }
      const layer = new Pooled(pooling, fixture.shape, segments)
      const [B = 0, , W = 0] = fixture.shape
      for (const chunks of [{}, { chunkSize: 5 }]) {
        const options = { runtime: runtime(), ...chunks }
        const { output, report } = await layer.forward(rows, options)
        expect(output.shape).toEqual([B, count, W])
        expect(worst(output.data, vectors)).toBeLessThan(1e-6)
        expect(report.memory.peakBytes).toBeLessThanOrEqual(report.plan.totalBytes)
        const dOutput = { data: Float32Array.from(dVectors), shape: output.shape }
        const { dInput, report: backward } = await layer.backward(rows, dOutput, options)
        expect(worst(dInput!.data, dRows)).toBeLessThan(1e-6)
        expect(backward.memory.peakBytes).toBeLessThanOrEqual(backward.plan.totalBytes)
      }
    },
  )
})

describe('the largest', () => {
  const largest = async (rows: number[][], segments: ConstructorParameters<typeof Pooled>[2] = {}) => {
    const shape = [1, rows.length, rows[0]!.length]
    const layer = new Pooled('max', shape, segments)
    const input = { data: Float32Array.from(rows.flat()), shape }
    const options = { runtime: runtimes['the calling thread']() }
    const { output } = await layer.forward(input, options)
    const dOutput = { data: Float32Array.from(output.data, (_, at) => at + 1), shape: output.shape }
    const { dInput } = await layer.backward(input, dOutput, options)
    return { vectors: [...output.data], dRows: [...dInput!.data] }
  }

  test('of equal elements the first row gets the gradient, of 0 and −0 too', async () => {
    expect(
      await largest([
        [1, -0],
        [1, 0],
        [0, 0],
        [1, 0],
      ]),
    ).toEqual({ vectors: [1, -0], dRows: [1, 2, 0, 0, 0, 0, 0, 0] })
  })

  test('NaN is larger than every number, and the first one gets the gradient', async () => {
    expect(await largest([[Infinity], [NaN], [3], [NaN]])).toEqual({ vectors: [NaN], dRows: [0, 1, 0, 0] })
  })

  test('−∞ alone is the largest of its rows, and no rows give zeros without a gradient', async () => {
    const segments = { count: 2, numbers: Int32Array.of(1, 1) }
    expect(await largest([[-Infinity], [-Infinity]], segments)).toEqual({ vectors: [0, -Infinity], dRows: [2, 0] })
  })

  test('has the same bits and gradients for any pool and chunk size, over more sequences than a tile has rows', async () => {
    const rows = normalTensor(new Random(5), [70, 9, 5])
    const numbers = Int32Array.from({ length: 70 * 9 }, (_, at) => (at * 7) % 3)
    const layer = new Pooled('max', rows.shape, { count: 3, numbers })
    const dOutput = normalTensor(new Random(6), [70, 3, 5])
    const all = await Promise.all(
      Object.values(runtimes).flatMap((runtime) =>
        [undefined, 1, 13].map(async (chunkSize) => {
          const options = { runtime: runtime(), ...(chunkSize === undefined ? {} : { chunkSize }) }
          const { output } = await layer.forward(rows, options)
          return [output.data, (await layer.backward(rows, dOutput, options)).dInput!.data]
        }),
      ),
    )
    for (const each of all) expect(each).toEqual(all[0])
  })

  test('of more rows than an index in float32 can name is refused, and so are numbers of another length', () => {
    const graph = { input: () => expect.unreachable() } as unknown as Graph
    const from = { batch: 1, rows: 2 ** 24 + 1, width: 1 } as Value
    expect(() => pool(graph, from, 'max')).toThrow(
      new OptionError('pool: rows: expected at most 16777216 for the largest, got number 16777217'),
    )
    expect(() => pool(graph, { ...from, rows: 4 }, 'max', { numbers: new Int32Array(3) })).toThrow(OptionError)
  })
})
