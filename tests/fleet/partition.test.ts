import { expect, test } from 'vitest'
import { keyRangesOf, queryChunks } from '../../src/fleet/jobs/attention-partition.ts'
import { failureOf, failureText, isFinal } from '../../src/fleet/queue/job-failure.ts'
import { NumericError, OptionError, ShapeError, WorkerLostError } from '../../src/core/errors.ts'

const shape = {
  leading: [2, 1],
  batch: 2,
  heads: 1,
  keyValueHeads: 1,
  queries: 4100,
  keys: 4100,
  headSize: 8,
  valueSize: 8,
}
const partition = { queryRows: 2000, keyRows: 1024 }
const rows = { start: 2000, end: 2064 }
const all = { causal: false, queryOffset: 0, softcap: 0 }
const startsOf = (settings: object): number[] =>
  keyRangesOf(shape, partition, rows, { ...all, ...settings }).map(({ start }) => start)

test('a call is cut into chunks of rows, the last one shorter', () => {
  expect(queryChunks(shape, partition)).toEqual([
    { start: 0, end: 2000 },
    { start: 2000, end: 4000 },
    { start: 4000, end: 4100 },
  ])
})

test('a chunk gets the key ranges that one of its rows sees, and no others', () => {
  expect(startsOf({})).toEqual([0, 1024, 2048, 3072, 4096])
  expect(startsOf({ causal: true })).toEqual([0, 1024, 2048])
  expect(startsOf({ causal: true, queryOffset: -17 })).toEqual([0, 1024])
  expect(startsOf({ causal: true, windowBefore: 500 })).toEqual([1024, 2048])
  expect(startsOf({ windowBefore: 976, windowAfter: 0 })).toEqual([1024, 2048])
  expect(startsOf({ windowBefore: 977, windowAfter: 1009 })).toEqual([0, 1024, 2048, 3072])
  expect(startsOf({ keyLengths: [900, 1025] })).toEqual([0, 1024])
})

test('a chunk that sees no key gets the first range', () => {
  expect(startsOf({ keyLengths: [0, 0] })).toEqual([0])
  expect(startsOf({ causal: true, queryOffset: -5000 })).toEqual([0])
})

test('what does not fit is not tried again; what a host did is', () => {
  const final = [new ShapeError('no'), new OptionError('no'), new NumericError('no')]
  expect(final.map(isFinal)).toEqual([true, true, true])
  expect([new WorkerLostError('gone'), new Error('full')].map(isFinal)).toEqual([false, false])
})

test('a failure keeps its class and its words on the way through Redis', () => {
  const failure = failureOf(failureText(new NumericError('NaN at 3: bad'), 'one'), 'job 7')
  expect(failure).toMatchObject({
    code: 'NumericError',
    message: 'NaN at 3: bad (host one)',
    details: { job: 'job 7' },
  })
  expect(failureOf(failureText(new Error('full'), 'one'), '7').code).toBe('WorkerLostError')
  expect(failureOf('job stalled more than allowable limit', '7').message).toMatch(/every host that had it went away/)
})
