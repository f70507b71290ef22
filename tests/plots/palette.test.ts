import { describe, expect, it } from 'vitest'
import { colourRules, LEVELS, levelOf, pageColourRules } from '../../src/plots/palette.ts'

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
