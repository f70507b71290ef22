import { expect, test } from 'vitest'
import { keepMask, philox, type Counter, type Key } from '../philox.ts'

// The known answers that are published with Random123 (kat_vectors, philox4x32 10).
const knownAnswers: readonly { counter: Counter; key: Key; words: Counter }[] = [
  { counter: [0, 0, 0, 0], key: [0, 0], words: [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8] },
  {
    counter: [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
    key: [0xffffffff, 0xffffffff],
    words: [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
  },
  {
    counter: [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
    key: [0xa4093822, 0x299f31d0],
    words: [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  },
]

test.each(knownAnswers)('Philox 4x32-10 of $counter is the published answer', ({ counter, key, words }) => {
  expect(philox(counter, key)).toEqual(words)
})

test('the keep mask takes word j mod 4 of counter (⌊j/4⌋, i, b·H + h, 0) under the two halves of the seed', () => {
  const seed = 0x12345 * 4294967296 + 0xabcdef01
  const words = [philox([0, 7, 3, 0], [0xabcdef01, 0x12345]), philox([1, 7, 3, 0], [0xabcdef01, 0x12345])].flat()
  expect(keepMask(seed, 0.5, 3, 7, 6)).toEqual(words.slice(0, 6).map((word) => word >= 2147483648))
})

test('the share of kept keys is near 1 − p', () => {
  const kept = keepMask(42, 0.3, 0, 0, 20_000).filter(Boolean).length
  expect(Math.abs(kept / 20_000 - 0.7)).toBeLessThan(0.02)
  expect(keepMask(42, 1, 0, 0, 100)).toEqual(Array(100).fill(false))
  expect(keepMask(42, 0, 0, 0, 100)).toEqual(Array(100).fill(true))
})
