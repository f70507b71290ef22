import { expect, test } from 'vitest'
import { matchKept } from '../../src/plan/kept-buffers.ts'

const MEGA = 2 ** 20

test('a need takes the smallest buffer that holds it, of at most half again its size', () => {
  expect(matchKept([100_000], [160_000, 150_000, 120_000, 99_999])).toEqual({
    taken: [{ index: 2, bytes: 100_000 }],
    dropped: [],
    leftBytes: 20_000 + 160_000 + 150_000 + 99_999,
  })
  expect(matchKept([100_000], [150_001]).taken).toEqual([])
  expect(matchKept([100_000], [150_000]).taken).toEqual([{ index: 0, bytes: 100_000 }])
})

test('the largest need chooses first, and each buffer serves one', () => {
  // The smaller one would take what the larger one needs.
  expect(matchKept([100_000, 140_000], [145_000, 90_000]).taken).toEqual([{ index: 0, bytes: 140_000 }])
})

test('small needs are left to the collector', () => {
  expect(matchKept([65_535], [65_536]).taken).toEqual([])
  expect(matchKept([65_536], [65_536]).taken).toEqual([{ index: 0, bytes: 65_536 }])
})

test('of the buffers that serve nothing, the smallest stay, up to 16 MiB', () => {
  expect(matchKept([], [9 * MEGA, 8 * MEGA, 7 * MEGA])).toEqual({ taken: [], dropped: [0], leftBytes: 15 * MEGA })
  expect(matchKept([], [16 * MEGA])).toEqual({ taken: [], dropped: [], leftBytes: 16 * MEGA })
  expect(matchKept([], [16 * MEGA + 1])).toEqual({ taken: [], dropped: [0], leftBytes: 0 })
})
