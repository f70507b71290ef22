import { NumericError, OptionError } from 'heddle'
import { clipGradNorm, clipGradValue, gradientNorm } from 'heddle/train'
import { describe, expect, it } from 'vitest'
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
