import { OptionError } from 'heddle'
import { MultiHeadAttention, type RotaryScaling } from 'heddle/nn'
import { describe, expect, it } from 'vitest'
import { rotaryFrequencies } from '../../src/nn/layers/rotary-frequencies.ts'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { normalTensor } from '../support/tensors.ts'
import { worst } from './worst.ts'

const runtime = useRuntime({ workers: 0 })
const [SIZE, BASE] = [16, 10_000]
const plain = Array.from({ length: SIZE / 2 }, (_, c) => BASE ** ((-2 * c) / SIZE))
const of = (scaling: RotaryScaling | null, length = 1) => rotaryFrequencies({ base: BASE, size: SIZE, scaling }, length)

describe('frequencies', () => {
  it('without scaling: base^(−2c/R)', () => {
    expect(worst(of(null).frequencies, plain)).toBeLessThan(1e-14)
  })

  it('linear divides all of them', () => {
    expect(
      worst(
        of({ kind: 'linear', factor: 4 }).frequencies,
        plain.map((each) => each / 4),
      ),
    ).toBeLessThan(1e-14)
  })

  it('NTK leaves the fastest and divides the slowest by the factor', () => {
    const { frequencies } = of({ kind: 'ntk', factor: 4 })
    expect(frequencies[0]).toBe(1)
    expect(frequencies.at(-1)! / (plain.at(-1)! / 4)).toBeCloseTo(1, 12)
  })

  it('dynamic is plain up to the trained length, and NTK by the length beyond', () => {
    const scaling = { kind: 'dynamic', factor: 2, trainedLength: 100 } as const
    expect(of(scaling, 100).frequencies).toEqual(of(null).frequencies)
    // 2·300/100 − 1 = 5
    expect(worst(of(scaling, 300).frequencies, of({ kind: 'ntk', factor: 5 }).frequencies)).toBeLessThan(1e-14)
  })

  it('YaRN keeps fast pairs, divides slow ones, and stretches the amplitude', () => {
    const { frequencies, amplitude } = of({ kind: 'yarn', factor: 8, trainedLength: 4096 })
    expect(frequencies[0]).toBe(plain[0])
    expect(frequencies.at(-1)! / (plain.at(-1)! / 8)).toBeCloseTo(1, 12)
    frequencies.forEach((each, c) => {
      expect(each).toBeLessThanOrEqual(plain[c]! * (1 + 1e-12))
      expect(each).toBeGreaterThanOrEqual((plain[c]! / 8) * (1 - 1e-12))
    })
    expect(amplitude).toBeCloseTo(0.1 * Math.log(8) + 1, 12)
    expect(of({ kind: 'yarn', factor: 8, trainedLength: 4096, attentionFactor: 1.5 }).amplitude).toBe(1.5)
  })

  it('Llama 3 keeps wavelengths below trained/high, divides those above trained/low', () => {
    const { frequencies } = of({
      kind: 'llama3',
      factor: 8,
      trainedLength: 1024,
      lowFrequencyFactor: 1,
      highFrequencyFactor: 4,
    })
    frequencies.forEach((each, c) => {
      const wavelength = (2 * Math.PI) / plain[c]!
      if (wavelength < 256) expect(each / plain[c]!).toBeCloseTo(1, 12)
      else if (wavelength > 1024) expect(each / plain[c]!).toBeCloseTo(1 / 8, 12)
      else {
        expect(each / plain[c]!).toBeLessThan(1)
        expect(each / plain[c]!).toBeGreaterThan(1 / 8)
      }
    })
  })
})

describe('MultiHeadAttention with rotary options', () => {
  const make = (rotary: ConstructorParameters<typeof MultiHeadAttention>[0]['rotary']) =>
    new MultiHeadAttention({ modelDim: 24, heads: 2, seed: 3, ...(rotary === undefined ? {} : { rotary }) })
  const x = normalTensor(new Random(8), [2, 30, 24])
  const outputOf = async (rotary: Parameters<typeof make>[0]) =>
    (await make(rotary).forward(x, { runtime: runtime(), causal: true })).output.data

  it('an object of its base is the same as the base', async () => {
    expect(await outputOf({ base: 500 })).toEqual(await outputOf(500))
    expect(await outputOf({ base: 500, size: 12 })).toEqual(await outputOf(500))
  })

  it('a part of each head, and each scaling, give something else', async () => {
    const seen = new Set<string>()
    const scalings: readonly RotaryScaling[] = [
      { kind: 'linear', factor: 2 },
      { kind: 'ntk', factor: 2 },
      { kind: 'dynamic', factor: 2, trainedLength: 8 },
      { kind: 'yarn', factor: 2, trainedLength: 8 },
      { kind: 'llama3', factor: 2, trainedLength: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4 },
    ]
    for (const options of [{}, { size: 4 }, ...scalings.map((scaling) => ({ scaling }))])
      seen.add(String(await outputOf(options)))
    expect(seen.size).toBe(7)
  })

  it('has the gradients that finite differences have, with a part of each head and YaRN', async () => {
    const layer = make({ base: 100, size: 6, scaling: { kind: 'yarn', factor: 4, trainedLength: 10 } })
    const dOutput = normalTensor(new Random(9), [2, 30, 24])
    const { dInput } = await layer.backward(x, dOutput, { runtime: runtime(), causal: true })
    const objective = async (data: Float32Array): Promise<number> => {
      const { output } = await layer.forward({ data, shape: x.shape }, { runtime: runtime(), causal: true })
      return output.data.reduce((sum, value, at) => sum + value * dOutput.data[at]!, 0)
    }
    const direction = normalTensor(new Random(10), x.shape).data
    const h = 1e-2
    const moved = (sign: number) => x.data.map((value, at) => value + sign * h * direction[at]!)
    const difference = ((await objective(moved(1))) - (await objective(moved(-1)))) / (2 * h)
    const slope = dInput!.data.reduce((sum, value, at) => sum + value * direction[at]!, 0)
    // Float32 forward passes: their rounding over 2·h, and the third derivative's h².
    expect(Math.abs(difference - slope)).toBeLessThan(2e-3 * Math.max(1, Math.abs(slope)))
  })

  it('refuses wrong ones', () => {
    const wrong: readonly (readonly [unknown, RegExp])[] = [
      [{ base: 0 }, /base: expected a base > 0/],
      [{ size: 5 }, /expected an even size, got 5/],
      [{ size: 14 }, /size: expected an integer from 2 to 12/],
      [{ scale: 2 }, /got "scale"/],
      [{ scaling: { kind: 'stretch' } }, /scaling: kind: expected linear, ntk, dynamic, yarn, llama3, got "stretch"/],
      [{ scaling: { kind: 'linear' } }, /scaling: factor: expected a number > 0, got undefined/],
      [{ scaling: { kind: 'linear', factor: 2, trainedLength: 3 } }, /got "trainedLength"/],
      [{ scaling: { kind: 'yarn', factor: 2, trainedLength: 8, betaFast: -1 } }, /betaFast: expected a number > 0/],
    ]
    for (const [rotary, message] of wrong) {
      expect(() => make(rotary as number)).toThrow(message)
      expect(() => make(rotary as number)).toThrow(OptionError)
    }
  })
})
