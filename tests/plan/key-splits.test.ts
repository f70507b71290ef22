import { expect, test } from 'vitest'
import { keySplits } from '../../src/plan/key-splits.ts'

const startsOf = (queries: number, keys: number): number[] =>
  keySplits({ queries, keys }).map(({ keyStart }) => keyStart)

test('few rows over many keys are cut at multiples of 1,024, into 16 parts at most', () => {
  expect(startsOf(1, 40_000)).toEqual([0, 5120, 10_240, 15_360, 20_480, 25_600, 30_720, 35_840])
  expect(startsOf(64, 8192)).toEqual([0, 4096])
  expect(startsOf(64, 1_000_000)).toEqual(Array.from({ length: 16 }, (_, at) => at * 63_488))
})

test('the parts follow each other up to the last key', () => {
  const splits = keySplits({ queries: 3, keys: 40_001 })
  splits.slice(1).forEach(({ keyStart }, at) => expect(keyStart).toBe(splits[at]?.keyEnd))
  expect(splits.at(-1)?.keyEnd).toBe(40_001)
})

test('many rows, or few keys, stay whole', () => {
  expect(startsOf(65, 1_000_000)).toEqual([0])
  expect(startsOf(1, 8191)).toEqual([0])
  expect(startsOf(1, 0)).toEqual([])
})
