import { describe, expect, it } from 'vitest'
import { OptionError, ShapeError } from '../../src/core/errors.ts'
import { philoxWords } from '../../src/core/philox.ts'
import {
  constant,
  heNormal,
  heUniform,
  initialise,
  normal,
  xavierNormal,
  xavierUniform,
} from '../../src/nn/initialisers.ts'
import { Parameter } from '../../src/program/parameter.ts'
import { deriveSeed, seedWords } from '../../src/core/seed.ts'
import { exactCos, exactSin } from '../../src/core/sine.ts'
import { philox } from '../support/philox.ts'
import { Random } from '../support/random.ts'

function moments(data: Float32Array) {
  const mean = data.reduce((sum, value) => sum + value, 0) / data.length
  const deviation = Math.sqrt(data.reduce((sum, value) => sum + (value - mean) ** 2, 0) / data.length)
  return { mean, deviation, largest: data.reduce((most, value) => Math.max(most, Math.abs(value)), 0) }
}

describe('philoxWords', () => {
  it('gives the published words', () => {
    const words = new Uint32Array(4)
    philoxWords(words, { seedLow: 0, seedHigh: 0 }, 0, 0, 0, 0)
    expect([...words]).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8])
    philoxWords(words, { seedLow: 0xa4093822, seedHigh: 0x299f31d0 }, 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344)
    expect([...words]).toEqual([0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1])
  })

  it('agrees with the reference in big integers', () => {
    const random = new Random(7)
    const words = new Uint32Array(4)
    for (let round = 0; round < 200; round++) {
      const [c0, c1, c2, c3, seedLow, seedHigh] = Array.from({ length: 6 }, () => random.word()) as [
        number,
        number,
        number,
        number,
        number,
        number,
      ]
      philoxWords(words, { seedLow, seedHigh }, c0, c1, c2, c3)
      expect([...words]).toEqual([...philox([c0, c1, c2, c3], [seedLow, seedHigh])])
    }
  })
})

describe('exactSin and exactCos', () => {
  it('are within 1e-12 of the engine up to 2^24', () => {
    const random = new Random(3)
    for (let round = 0; round < 20_000; round++) {
      const x = (random.uniform() * 2 - 1) * 2 ** random.integer(-8, 24)
      expect(Math.abs(exactSin(x) - Math.sin(x))).toBeLessThan(1e-12)
      expect(Math.abs(exactCos(x) - Math.cos(x))).toBeLessThan(1e-12)
    }
  })
})

describe('initialisers', () => {
  const [fanOut, fanIn] = [300, 200]
  it('Xavier uniform stays within its bound and fills it', () => {
    const parameter = new Parameter([fanOut, fanIn])
    xavierUniform(parameter, 1)
    const { mean, deviation, largest } = moments(parameter.data)
    const bound = Math.sqrt(6 / (fanIn + fanOut))
    expect(largest).toBeLessThanOrEqual(Math.fround(bound))
    expect(largest).toBeGreaterThan(0.999 * bound)
    expect(Math.abs(mean)).toBeLessThan(0.01 * bound)
    expect(deviation / (bound / Math.sqrt(3))).toBeCloseTo(1, 2)
  })

  it.each([
    ['Xavier normal', xavierNormal, Math.sqrt(2 / (fanIn + fanOut))],
    ['He uniform', heUniform, Math.sqrt(2 / fanIn)],
    ['He normal', heNormal, Math.sqrt(2 / fanIn)],
  ] as const)('%s has its standard deviation', (_name, draw, expected) => {
    const parameter = new Parameter([fanOut, fanIn])
    draw(parameter, 2n ** 40n + 3n)
    const { mean, deviation } = moments(parameter.data)
    expect(deviation / expected).toBeCloseTo(1, 1.9)
    expect(Math.abs(mean)).toBeLessThan(0.02 * expected)
  })

  it('the same seed gives the same numbers, another one others', () => {
    const draw = (seed: number): Float32Array => {
      const parameter = new Parameter([4, 5])
      normal(parameter, seed, 3, 0.5)
      return parameter.data
    }
    expect(draw(5)).toEqual(draw(5))
    expect(draw(5)).not.toEqual(draw(6))
    expect(deriveSeed(seedWords('seed', 5), 0)).not.toEqual(deriveSeed(seedWords('seed', 5), 1))
  })

  it("draws a range of rows alone, by the range's own fan-out", () => {
    const parameter = new Parameter([6, 3])
    initialise(parameter, 'xavier-uniform', 9, { rowStart: 2, rows: 2 })
    expect(parameter.data.subarray(0, 6).every((value) => value === 0)).toBe(true)
    expect(parameter.data.subarray(6, 12).every((value) => value !== 0)).toBe(true)
    expect(parameter.data.subarray(12).every((value) => value === 0)).toBe(true)
    const alone = new Parameter([2, 3])
    xavierUniform(alone, 9)
    expect([...parameter.data.subarray(6, 12)]).toEqual([...alone.data])
  })

  it('each draw counts as a change', () => {
    const parameter = new Parameter([2, 2])
    const before = parameter.version
    constant(parameter, 1)
    expect(parameter.version).toBeGreaterThan(before)
  })

  it('refuses what has no fans, and seeds out of range', () => {
    expect(() => xavierUniform(new Parameter([3]), 1)).toThrow(ShapeError)
    for (const seed of [-1, 1.5, NaN, 2 ** 53, -1n, 2n ** 64n])
      expect(() => normal(new Parameter([3]), seed)).toThrow(OptionError)
  })
})
