import { NumericError, OptionError } from 'heddle'
import { clipFactor, clipGradNorm, clipGradValue, gradientNorm } from 'heddle/train'
import { describe, expect, it } from 'vitest'
import { withRuntime } from '../support/runtimes.ts'
import { fixtures } from './support/fixtures.ts'

type Gradients = Map<string, { data: Float32Array; shape: number[] }>

const gradientsOf = (lists: readonly (readonly number[])[]): Gradients =>
  new Map(lists.map((list, index) => [`p${index}`, { data: Float32Array.from(list), shape: [list.length] }]))
const elements = (gradients: Gradients): number[] => [...gradients.values()].flatMap(({ data }) => Array.from(data))

describe('clipping equals PyTorch’s', () => {
  it.each(fixtures.clipping)('by $by, limit $limit', async ({ by, limit, gradients: lists, norm, clipped }) => {
    const gradients = gradientsOf(lists)
    if (by === 'norm') expect((await clipGradNorm(gradients, limit)) / (norm ?? NaN)).toBeCloseTo(1, 6)
    else await clipGradValue(gradients, limit)
    // PyTorch's factor is float32: one unit in its last place.
    for (const [index, value] of clipped.flat().entries())
      expect(Math.abs((elements(gradients)[index] ?? NaN) - value)).toBeLessThan(2e-7 * Math.abs(value) + 1e-12)
    // a limit above the norm changes no bit
    if (limit === 1e6) expect(elements(gradients)).toEqual(lists.flat())
  })
})

describe('clipGradNorm', () => {
  it('returns the norm before, and leaves one that is the limit', async () => {
    const gradients = gradientsOf([[3], [0, -4]])
    expect(await gradientNorm(gradients)).toBe(5)
    expect(await clipGradNorm(gradients, 2.5)).toBe(5)
    expect(await gradientNorm(gradients)).toBeCloseTo(2.5, 5)
    expect(elements(gradients)[0]).toBeCloseTo(1.5, 5)
  })

  it('adds in float64: small gradients beside large ones count', async () => {
    const many = new Float32Array(100_000).fill(1e-2)
    const gradients: Gradients = new Map([
      ['large', { data: Float32Array.of(300), shape: [1] }],
      ['many', { data: many, shape: [100_000] }],
    ])
    // in float32, 1e-4 added to 9e4 changes nothing
    expect((await gradientNorm(gradients)) ** 2 - 90_000).toBeCloseTo(10, 4)
  })

  it('takes gradients of any size that float32 holds', async () => {
    expect(await gradientNorm(gradientsOf([[3e38, 3e38]]))).toBeCloseTo(4.2426e38, -35)
  })

  it.each([NaN, Infinity, -Infinity])('names the first parameter that holds %d, and changes nothing', async (value) => {
    for (const clip of [clipGradNorm, clipGradValue]) {
      const gradients = gradientsOf([[1, 2], [3, value], [value]])
      const error: unknown = await clip(gradients, 0.1).catch((reason: unknown) => reason)
      expect(error).toBeInstanceOf(NumericError)
      expect((error as Error).message).toMatch(`expected finite gradients, got ${value} at element 1 of p1`)
      expect((error as NumericError).details).toEqual({ parameter: 'p1', element: 1 })
      expect(elements(gradients).slice(0, 3)).toEqual([1, 2, 3])
    }
  })

  it.each([0, -1, NaN, '1', undefined])('refuses the limit %s', async (limit) => {
    for (const clip of [clipGradNorm, clipGradValue])
      await expect(clip(gradientsOf([[1]]), limit as number)).rejects.toThrow(OptionError)
  })

  it('clamps at both ends', async () => {
    const gradients = gradientsOf([[-3, -1, 0, 1, 3]])
    await clipGradValue(gradients, 2)
    expect(elements(gradients)).toEqual([-2, -1, 0, 1, 2])
  })
})

describe('the norm of many gradients', () => {
  const BLOCK = 2 ** 20
  const sizes = [1_300_000, 5, 2_999_999]
  const many = (isShared: boolean): Gradients =>
    new Map(
      sizes.map((size, place) => {
        const data = new Float32Array(isShared ? new SharedArrayBuffer(4 * size) : new ArrayBuffer(4 * size))
        for (let index = 0; index < size; index++) data[index] = ((index * 7919 + place) % 1000) / 999 - 0.3
        return [`p${place}`, { data, shape: [size] }]
      }),
    )
  /** By the definition: each block of elements in order, and the blocks in order. */
  const expectedOf = (gradients: Gradients): number => {
    const all = [...gradients.values()].flatMap(({ data }) => [data])
    const sums: number[] = []
    let [sum, count] = [0, 0]
    for (const data of all)
      for (const value of data) {
        sum += value * value
        if (++count % BLOCK === 0) sums.push(sum)
        if (count % BLOCK === 0) sum = 0
      }
    return Math.sqrt([...sums, sum].reduce((total, each) => total + each, 0))
  }

  it('has the same bits on the calling thread and on any number of lanes', async () => {
    const expected = expectedOf(many(false))
    expect(await gradientNorm(many(false))).toBe(expected)
    for (const options of [
      { workers: 0 },
      { workers: 1 },
      { workers: 2 },
      { workers: 2, sharedMemory: 'never' },
    ] as const)
      await withRuntime({ ...options, backend: 'wasm' }, async (runtime) => {
        let tasks = 0
        runtime.on('task', () => tasks++)
        for (const isShared of [true, false]) expect(await gradientNorm(many(isShared), { runtime })).toBe(expected)
        expect(tasks > 0).toBe(options.workers > 0 && !('sharedMemory' in options))
        const gradients = many(true)
        gradients.get('p2')?.data.fill(NaN, 2_999_998)
        await expect(gradientNorm(gradients, { runtime })).rejects.toThrow(
          'gradientNorm: expected finite gradients, got NaN at element 2999998 of p2',
        )
      })
  })

  it('is that of one sum where they are no more than a block', async () => {
    const few = new Map([...many(false)].slice(0, 2).map(([name, { data }]) => [name, data.subarray(0, BLOCK - 5)]))
    let sum = 0
    for (const data of few.values()) for (const value of data) sum += value * value
    const gradients: Gradients = new Map([...few].map(([name, data]) => [name, { data, shape: [data.length] }]))
    expect(await gradientNorm(gradients)).toBe(Math.sqrt(sum))
  })

  it('refuses options that it does not know, and what is no runtime', async () => {
    const gradients = gradientsOf([[3, 4]])
    await expect(gradientNorm(gradients, { runtime: {} as never })).rejects.toThrow(
      'gradientNorm: option runtime: expected a runtime made by createRuntime',
    )
    await expect(clipGradNorm(gradients, 1, { lanes: 2 } as never)).rejects.toThrow(OptionError)
    expect(() => clipFactor(1, 0)).toThrow('clipFactor: maxNorm: expected a number above 0, got number 0')
    expect(clipFactor(5, 10)).toBe(1)
  })
})
