import { describe, expect, it } from 'vitest'
import { exactExp, exactLog } from '../../src/core/elementary.ts'

describe('exactExp and exactLog', () => {
  it('agree with the engine’s own within 1e-14 relative', () => {
    for (let step = -3000; step <= 3000; step++) {
      const x = step * 0.2313
      if (Math.abs(x) < 690) expect(Math.abs(exactExp(x) / Math.exp(x) - 1)).toBeLessThan(1e-14)
      const y = Math.abs(step + 0.5) * 1e-3 * 1.7 ** (step / 20)
      expect(Math.abs(exactLog(y) - Math.log(y))).toBeLessThanOrEqual(1e-14 * Math.max(1, Math.abs(Math.log(y))))
    }
  })

  it('hold at the edges', () => {
    expect(exactExp(0)).toBe(1)
    expect(exactExp(-Infinity)).toBe(0)
    expect(exactExp(Infinity)).toBe(Infinity)
    expect(exactExp(NaN)).toBeNaN()
    expect(exactLog(1)).toBe(0)
    expect(exactLog(0)).toBe(-Infinity)
    expect(exactLog(-1)).toBeNaN()
    expect(exactLog(Infinity)).toBe(Infinity)
    expect(exactLog(5e-324)).toBeCloseTo(-744.4400719213812, 10)
  })
})
