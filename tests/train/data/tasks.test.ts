import { describe, expect, it } from 'vitest'
import { OptionError } from '../../../src/core/errors.ts'
import { readBatch, type Batch } from '../../../src/train/batch.ts'
import { baselines } from '../../../src/train/data/baselines.ts'
import { copyTask, inductionTask, reverseTask } from '../../../src/train/data/tasks.ts'

/** tokens and targets of row 0 */
function firstRow({ tokens, targets }: Batch): { tokens: number[]; targets: number[] } {
  const length = tokens?.shape[1] ?? 0
  return {
    tokens: Array.from(tokens?.data.subarray(0, length) ?? []),
    targets: Array.from(targets?.data.subarray(0, length) ?? []),
  }
}

describe('tasks', () => {
  it.each([
    ['copy', copyTask, (half: number[]) => half],
    ['reverse', reverseTask, (half: number[]) => half.toReversed()],
  ] as const)('%s: symbols, a separator, and the answer, which alone counts', (_, make, answer) => {
    const batchAt = make({ batch: 3, length: 12, symbols: 5, seed: 2 })
    for (const index of [0, 9]) {
      expect(readBatch('batch', batchAt(index)).rows).toEqual([3, 12])
      const { tokens, targets } = firstRow(batchAt(index))
      const half = tokens.slice(0, 6)
      expect(Math.max(...half)).toBeLessThan(5)
      expect(tokens.slice(6)).toEqual([5, ...answer(half).slice(0, 5)])
      expect(targets).toEqual([-100, -100, -100, -100, -100, -100, ...answer(half)])
    }
  })

  it('induction: every answer that counts follows an earlier copy of the token', () => {
    const batchAt = inductionTask({ batch: 20, length: 64, symbols: 40, seed: 1 })
    const periods = new Set<number>()
    for (let index = 0; index < 5; index++) {
      const batch = batchAt(index)
      const [tokens, targets] = [batch.tokens?.data ?? new Int32Array(0), batch.targets?.data ?? new Int32Array(0)]
      for (let row = 0; row < 20; row++) {
        const own = Array.from(tokens.subarray(row * 64, row * 64 + 64))
        const period = own.indexOf(own[0] ?? -1, 1)
        periods.add(period)
        for (let place = 0; place < 64; place++) {
          const target = targets[row * 64 + place] ?? 0
          const earlier = own.lastIndexOf(own[place] ?? -1, place - 1)
          expect(target === -100).toBe(place < period || earlier < 0)
          if (target !== -100) expect(target).toBe(own[earlier + 1])
        }
      }
    }
    expect([Math.min(...periods) >= 16, Math.max(...periods) <= 32, periods.size > 5]).toEqual([true, true, true])
  })

  it('induction: periods are drawn between the two that are asked for, short ones as often as long ones', () => {
    const batchAt = inductionTask({ batch: 400, length: 80, symbols: 64, shortest: 4, longest: 63, seed: 1 })
    const { tokens } = batchAt(0)
    const periods = Array.from({ length: 400 }, (_, row) => {
      const own = tokens?.data.subarray(row * 80, row * 80 + 80)
      return own?.indexOf(own[0] ?? -1, 1) ?? 0
    })
    expect([Math.min(...periods), Math.max(...periods) > 55, Math.max(...periods) <= 63]).toEqual([4, true, true])
    // half of the scale is below 16; 400 draws have a deviation of 2.5 %
    expect(periods.filter((period) => period < 16).length / 400).toBeCloseTo(0.5, 1)
  })

  it.each([
    ['copy', copyTask],
    ['reverse', reverseTask],
    ['induction', inductionTask],
  ] as const)('%s: batch k depends on k and the seed alone', (_, make) => {
    const options = { batch: 4, length: 16, symbols: 9, seed: 3 }
    expect(make(options)(7)).toEqual(make(options)(7))
    expect(make(options)(7)).not.toEqual(make(options)(8))
    expect(make({ ...options, seed: 4 })(7)).not.toEqual(make(options)(7))
    const rows = new Set(
      Array.from({ length: 4 }, (_, row) => String(make(options)(7).tokens?.data.subarray(row * 16, row * 16 + 16))),
    )
    expect(rows.size).toBe(4)
  })

  it('refuse what cannot be', () => {
    expect(() => copyTask({ batch: 1, length: 5, symbols: 4 })).toThrow(
      'copyTask: option length: expected an even number, got 5',
    )
    expect(() => inductionTask({ batch: 1, length: 64, symbols: 31 })).toThrow(
      'inductionTask: option symbols: expected at least as many as the longest period, 32, got 31',
    )
    expect(() => inductionTask({ batch: 1, length: 64, symbols: 64, longest: 64 })).toThrow(
      'inductionTask: option longest: expected an integer from 1 to 63, got number 64',
    )
    expect(() => inductionTask({ batch: 1, length: 64, symbols: 64, shortest: 9, longest: 8 })).toThrow(
      'inductionTask: option shortest',
    )
    expect(() => reverseTask({ batch: 1, length: 4, symbols: 1 })).toThrow(OptionError)
    expect(() => reverseTask({ batch: 1, length: 4, symbols: 2, size: 3 } as never)).toThrow('got "size"')
  })
})

describe('baselines', () => {
  const batchOf = (tokens: number[], targets: number[]): Batch => ({
    tokens: { data: Int32Array.from(tokens), shape: [tokens.length] },
    targets: { data: Int32Array.from(targets), shape: [targets.length] },
  })

  it('are known where counts are', () => {
    // 0 → 1 always; 1 → 0 or 2, alike
    const tokens = Array.from({ length: 4000 }, (_, place) => [0, 1, 0, 1][place % 4] ?? 0)
    const targets = Array.from({ length: 4000 }, (_, place) => [1, 0, 1, 2][place % 4] ?? 0)
    const { chance, unigram, bigram } = baselines([batchOf(tokens, targets)], [batchOf(tokens, targets)], 3)
    expect(chance).toBeCloseTo(Math.log(3), 12)
    expect(unigram).toBeCloseTo(1.5 * Math.log(2), 4)
    expect(bigram).toBeCloseTo(0.5 * Math.log(2), 3)
  })

  it('stay finite for pairs that training did not have', () => {
    const { unigram, bigram } = baselines([batchOf([0, 0], [1, 1])], [batchOf([1, 2], [2, 0])], 3)
    expect(unigram).toBeCloseTo(Math.log(5), 12)
    expect(bigram).toBeGreaterThan(1)
    expect(bigram).toBeLessThan(3)
  })

  it('count what the loss counts', () => {
    const masked: Batch = { ...batchOf([0, 1, 2], [1, -100, 0]), mask: { data: Uint8Array.of(1, 1, 0), shape: [3] } }
    expect(baselines([masked], [masked], 3)).toEqual(baselines([batchOf([0], [1])], [batchOf([0], [1])], 3))
    expect(() => baselines([masked], [batchOf([0], [-100])], 3)).toThrow('baselines: expected targets that count')
  })
})
