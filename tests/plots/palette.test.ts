import { describe, expect, it } from 'vitest'
import { colourRules, KINDS, LEVELS, levelOf, pageColourRules } from '../../src/plots/palette.ts'

/** The colours of one scale in one theme, in order. */
function scale(name: 'ramp' | 'split', theme: 'light' | 'dark'): string[] {
  const [light = '', dark = ''] = colourRules().split('@media')
  return Array.from(
    { length: LEVELS },
    (_, level) => new RegExp(`--${name}-${level}:(#[0-9a-f]{6})`).exec(theme === 'light' ? light : dark)?.[1] ?? '',
  )
}

/** CIE lightness of a colour, 0 to 100. */
function lightness(hex: string): number {
  const [r = 0, g = 0, b = 0] = [1, 3, 5]
    .map((at) => parseInt(hex.slice(at, at + 2), 16) / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
  const luminance = 0.2126 * r + 0.7152 * g + 0.0722 * b
  return luminance > 0.008856 ? 116 * Math.cbrt(luminance) - 16 : 903.3 * luminance
}

type Triple = readonly [number, number, number]

function linearChannels(hex: string): Triple {
  const channel = (at: number): number => {
    const c = parseInt(hex.slice(at, at + 2), 16) / 255
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4
  }
  return [channel(1), channel(3), channel(5)]
}

const times = (rows: readonly Triple[], [x, y, z]: Triple): Triple =>
  rows.map(([a, b, c]) => a * x + b * y + c * z) as unknown as Triple

/** OKLab of linear channels (Ottosson 2020). */
function oklab(channels: Triple): Triple {
  const cones = times(
    [
      [0.4122214708, 0.5363325363, 0.0514459929],
      [0.2119034982, 0.6806995451, 0.1073969566],
      [0.0883024619, 0.2817188376, 0.6299787005],
    ],
    channels,
  )
  return times(
    [
      [0.2104542553, 0.793617785, -0.0040720468],
      [1.9779984951, -2.428592205, 0.4505937099],
      [0.0259040371, 0.7827717662, -0.808675766],
    ],
    cones.map(Math.cbrt) as unknown as Triple,
  )
}

/** What people without one kind of cones see of linear channels: Machado, Oliveira and Fernandes 2009, severity 1. */
const VISION: Readonly<Record<string, readonly Triple[]>> = {
  normal: [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ],
  protanopia: [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
  deuteranopia: [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
  ],
  tritanopia: [
    [1.255528, -0.076749, -0.178779],
    [-0.078411, 0.930809, 0.147602],
    [0.004733, 0.691367, 0.3039],
  ],
}

describe.each(['light', 'dark'] as const)('colours of kinds in the %s theme', (theme) => {
  const [light = '', dark = ''] = colourRules().split('@media')
  const rules = theme === 'light' ? light : dark
  const colour = (name: string): string => new RegExp(`--${name}:(#[0-9a-f]{6})`).exec(rules)?.[1] ?? ''
  const kinds = Array.from({ length: KINDS }, (_, kind) => colour(`kind-${kind}`))

  it.each(Object.keys(VISION))('differ to people with %s', (vision) => {
    const seen = kinds.map((hex) =>
      oklab(times(VISION[vision]!, linearChannels(hex)).map((c) => Math.min(1, Math.max(0, c))) as unknown as Triple),
    )
    for (const [one, a] of seen.entries())
      for (const [other, b] of seen.slice(0, one).entries())
        expect(Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]), `${one} and ${other}`).toBeGreaterThan(0.07)
  })

  it('stand out from their surface by 3 : 1 or more', () => {
    const luminance = (hex: string): number => {
      const [r, g, b] = linearChannels(hex)
      return 0.2126 * r + 0.7152 * g + 0.0722 * b
    }
    for (const hex of kinds) {
      const [low, high] = [luminance(hex), luminance(colour('surface'))].sort((a, b) => a - b) as [number, number]
      expect((high + 0.05) / (low + 0.05), hex).toBeGreaterThanOrEqual(3)
    }
  })
})

describe('the sequential scale', () => {
  it.each(['light', 'dark'] as const)(
    'is ordered by lightness in the %s theme, in steps of about equal size',
    (theme) => {
      const steps = scale('ramp', theme)
        .map(lightness)
        .map((value, at, all) => (at === 0 ? NaN : value - (all[at - 1] ?? 0)))
        .slice(1)
      const sign = theme === 'light' ? -1 : 1
      for (const step of steps) expect(sign * step).toBeGreaterThan(1)
      // CIE lightness is another measure than OKLab's: within a factor of three is even to the eye.
      expect(Math.max(...steps.map(Math.abs)) / Math.min(...steps.map(Math.abs))).toBeLessThan(3)
    },
  )
})

describe('the diverging scale', () => {
  it.each(['light', 'dark'] as const)('has its ends equally far from the middle in the %s theme', (theme) => {
    const values = scale('split', theme).map(lightness)
    const middle = ((values[LEVELS / 2 - 1] ?? 0) + (values[LEVELS / 2] ?? 0)) / 2
    expect(Math.abs(Math.abs((values[0] ?? 0) - middle) - Math.abs((values[LEVELS - 1] ?? 0) - middle))).toBeLessThan(
      12,
    )
  })
})

describe('colours', () => {
  it('follow the element’s colour scheme in a page, with the same values', () => {
    expect(pageColourRules()).toContain(`--ramp-3:light-dark(${scale('ramp', 'light')[3]},${scale('ramp', 'dark')[3]})`)
  })

  it('are found for values inside and outside the domain', () => {
    expect([-1, 0, 0.5, 1, 2].map((value) => levelOf(value, [0, 1]))).toEqual([
      0,
      0,
      Math.round((LEVELS - 1) / 2),
      LEVELS - 1,
      LEVELS - 1,
    ])
    expect(levelOf(3, [3, 3])).toBe(0)
  })
})
