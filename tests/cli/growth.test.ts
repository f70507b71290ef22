import { describe, expect, it } from 'vitest'
import { expectedMs } from '../../src/cli/run/growth.ts'
import type { Measurement } from '../../src/cli/run/word-attention.ts'

function measured(mode: 'standard' | 'chunked', tokens: number, elapsedMs: number): Measurement {
  const rates = { tokensPerSecond: 1, gigaflopsPerSecond: 1 }
  return { mode, tokens, elapsedMs, ...rates, peakBytes: 1, plannedBytes: 1, residentGrowthBytes: 1 }
}

describe('expectedMs', () => {
  const main = measured('chunked', 4096, 1600) // 400 ms at 2048 tokens, three times

  it('counts three calls of what is short, one of what is long, and the last chunked one not again', () => {
    const left = { counts: [2048, 4096], mode: 'chunked', standard: true } as const
    expect(expectedMs(left, main, [])).toBe(1200 + 1200 + 0 + 1600)
    expect(expectedMs({ ...left, mode: 'standard' }, main, [])).toBe(1200 + 1600)
  })

  it('takes standard mode for as slow as it was, and for nothing once it has ended', () => {
    const before = [measured('chunked', 1024, 100), measured('standard', 1024, 200)]
    expect(expectedMs({ counts: [2048], mode: 'standard', standard: true }, main, before)).toBe(2400)
    expect(expectedMs({ counts: [2048, 4096], mode: 'chunked', standard: false }, main, before)).toBe(1200)
  })
})
