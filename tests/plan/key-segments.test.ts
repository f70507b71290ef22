import { describe, expect, test } from 'vitest'
import { visiblePairs, type Visibility } from '../../src/plan/attention-sizes.ts'
import { keySegments } from '../../src/plan/key-segments.ts'
import { keysSeenFrom, rowsThatSee } from '../../src/plan/visibility.ts'
import { Random } from '../support/random.ts'

const everything: Visibility = {
  causal: false,
  windowBefore: Infinity,
  windowAfter: Infinity,
  queryOffset: [0],
  keyLength: [Infinity],
}
const sizes = { queries: 8192, keys: 8192, headSize: 64, valueSize: 64, taskHeads: 1 }

/** (query, key) pairs of a segment. */
function work(see: Visibility, { queries }: { readonly queries: number }, from: number, to: number): number {
  const upTo = (end: number): number =>
    visiblePairs(0, queries, 0, { ...see, keyLength: [Math.min(end, see.keyLength[0]!)] })
  return upTo(to) - upTo(from)
}

describe.each([
  { name: 'dense', see: everything },
  { name: 'causal', see: { ...everything, causal: true } },
  { name: 'causal, longer keys', see: { ...everything, causal: true, queryOffset: [1000] } },
  { name: 'window', see: { ...everything, windowBefore: 500, windowAfter: 200 } },
  { name: 'key length', see: { ...everything, keyLength: [5000] } },
  { name: 'nothing to see', see: { ...everything, keyLength: [0] } },
  { name: 'few queries at the end', see: { ...everything, causal: true, queryOffset: [8000] }, queries: 192 },
])('$name', ({ see, queries = 8192 }) => {
  const cut = { ...sizes, queries }
  const segments = keySegments(cut, see, 0)

  test('segments follow each other from key 0 to N, none is empty, and each ends at a block', () => {
    expect(segments).toHaveLength(8)
    expect(segments[0]!.keyStart).toBe(0)
    expect(segments.at(-1)!.keyEnd).toBe(8192)
    segments.forEach(({ keyStart, keyEnd }, index) => {
      expect(keyEnd).toBeGreaterThan(keyStart)
      expect(keyStart % 256).toBe(0)
      if (index > 0) expect(keyStart).toBe(segments[index - 1]!.keyEnd)
    })
  })

  test('each has an eighth of the work, but for half a block', () => {
    const total = work(see, cut, 0, 8192)
    // No block has more work than all queries over its 256 keys.
    for (const { keyStart, keyEnd } of segments)
      expect(Math.abs(work(see, cut, keyStart, keyEnd) - total / 8)).toBeLessThanOrEqual(256 * queries + 1)
  })
})

test('more heads, fewer segments; never more than blocks', () => {
  const counts = [1, 4, 8, 16, 32, 100].map((taskHeads) => keySegments({ ...sizes, taskHeads }, everything, 0).length)
  expect(counts).toEqual([8, 8, 4, 2, 1, 1])
  expect(keySegments({ ...sizes, keys: 1 }, everything, 0)).toEqual([{ keyStart: 0, keyEnd: 1 }])
  expect(keySegments({ ...sizes, keys: 0 }, everything, 0)).toEqual([])
})

test('batches with limits of their own are cut on their own', () => {
  const see = { ...everything, keyLength: [2048, 8192] }
  expect(keySegments(sizes, see, 0)[0]).toEqual({ keyStart: 0, keyEnd: 256 })
  expect(keySegments(sizes, see, 1)[0]).toEqual({ keyStart: 0, keyEnd: 1024 })
})

test('the rows that see a key are those whose keys hold it', () => {
  const random = new Random(12)
  for (let run = 0; run < 200; run++) {
    const [rows, keys, offset] = [random.integer(1, 12), random.integer(1, 12), random.integer(-6, 6)]
    const side = () => random.pick([Infinity, 0, 1, 3, -1])
    const rule = { causal: random.chance(0.5), windowBefore: side(), windowAfter: side() }
    for (let key = 0; key < keys; key++) {
      const { start, end } = rowsThatSee(key, rule, offset, rows)
      for (let row = 0; row < rows; row++) {
        const seen = keysSeenFrom(row + offset, rule, keys)
        expect(row >= start && row < end, JSON.stringify({ rule, offset, row, key })).toBe(
          key >= seen.start && key < seen.end,
        )
      }
    }
  }
})
