import { OptionError } from 'heddle'
import { constant, cosineAnnealing, linear } from 'heddle/train'
import { describe, expect, it } from 'vitest'
import { fixtures } from './support/fixtures.ts'

describe('cosineAnnealing', () => {
  const { base, minimum, steps, rates } = fixtures.schedule

  it.each(rates)('equals CosineAnnealingLR at step $step of T_max 1000', ({ step, rate }) => {
    // PyTorch computes each rate from the last one, and so adds up rounding errors.
    expect(Math.abs(cosineAnnealing({ steps, minimum })(step, base) - rate)).toBeLessThan(1e-6 * rate)
  })

  it('stays at the minimum afterwards', () => {
    expect(cosineAnnealing({ steps: 10, minimum: 0.25 })(10, 1)).toBe(0.25)
    expect(cosineAnnealing({ steps: 10, minimum: 0.25 })(9_999, 1)).toBe(0.25)
  })

  it('rises evenly to the base first', () => {
    const schedule = cosineAnnealing({ steps: 14, warmup: 4 })
    expect([0, 1, 2, 3, 4].map((step) => schedule(step, 10))).toEqual([2, 4, 6, 8, 10])
    // halfway between the end of the warm-up and the last step
    expect(schedule(9, 10)).toBeCloseTo(5, 12)
    for (let step = 4; step < 13; step++) expect(schedule(step + 1, 10)).toBeLessThan(schedule(step, 10))
  })
})

describe('linear and constant', () => {
  it('fall in even steps, or not at all', () => {
    const schedule = linear({ steps: 5, warmup: 1, minimum: 1 })
    expect([0, 1, 2, 3, 4, 5, 6].map((step) => schedule(step, 9))).toEqual([4.5, 9, 7, 5, 3, 1, 1])
    expect([0, 5, 1e6].map((step) => constant()(step, 0.3))).toEqual([0.3, 0.3, 0.3])
  })
})

describe('bad input', () => {
  it.each([
    [{ steps: 0 }, /option steps: expected an integer ≥ 1/],
    [{}, /option steps: expected an integer ≥ 1, got undefined/],
    [{ steps: 10, warmup: 10 }, /option warmup: expected an integer from 0 to 9/],
    [{ steps: 10, minimum: NaN }, /option minimum: expected a finite number ≥ 0/],
    [{ steps: 10, warmUp: 1 }, /got "warmUp" \(did you mean warmup\?\)/],
  ])('%j', (options, message) => {
    for (const make of [cosineAnnealing, linear]) {
      expect(() => make(options as never)).toThrow(OptionError)
      expect(() => make(options as never)).toThrow(message)
    }
  })
})
