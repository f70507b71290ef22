import { describe, expect, it } from 'vitest'
import { defaultChunkRows, gpuChunkRows, stageChunkRows, worthAWorker } from '../../src/plan/chunk-rows.ts'

const HEAVY = 6e6

describe('rows of a stage’s task', () => {
  const cases: [string, [number, number, number, number, boolean], number][] = [
    ['two tasks a lane', [1, 2048, HEAVY, 2, true], 512],
    ['whole tiles', [1, 700, HEAVY, 2, true], 192],
    ['no less than a tile while every lane gets one', [1, 256, HEAVY, 2, true], 64],
    ['less where lanes would have nothing to do', [1, 64, HEAVY, 2, true], 32],
    ['1024 at most', [1, 65_536, HEAVY, 2, true], 1024],
    ['all of a lone lane', [1, 700, HEAVY, 1, true], 700],
    ['four tasks of a lone lane whose rows travel', [1, 1000, HEAVY, 1, false], 256],
    ['four tasks a lane where rows travel', [1, 2048, HEAVY, 2, false], 256],
    ['batches count as tasks', [4, 512, HEAVY, 2, true], 512],
    ['one task where the work is tiny', [1, 512, 100, 2, true], 512],
    ['at least one row', [0, 0, HEAVY, 2, true], 1],
  ]
  it.each(cases)('%s', (_name, call, rows) => expect(stageChunkRows(...call)).toBe(rows))
})

describe('rows of a task of attention', () => {
  const cases: [string, [number, number, number, number], number][] = [
    ['four tasks a lane, over all heads', [2, 4096, HEAVY, 2], 1024],
    ['whole tiles', [1, 4000, HEAVY, 2], 512],
    ['less where lanes would have nothing to do', [1, 100, HEAVY, 2], 16],
    ['1024 at most', [1, 65_536, HEAVY, 2], 1024],
    ['as many as are worth a message', [1, 512, 6e4, 4], 104],
  ]
  it.each(cases)('%s', (_name, call, rows) => expect(defaultChunkRows(...call)).toBe(rows))

  const onGpu: [string, [number, number, number, number, boolean], number][] = [
    ['4096 at most', [1, 65_536, HEAVY, 1, false], 4096],
    ['as many as hide a task’s fixed cost', [8, 2048, 2e6, 1, false], 2048],
    ['fewer on a software adapter', [8, 2048, 2e5, 1, true], 2048],
    ['four tasks a lane', [1, 4096, 2e6, 1, true], 1024],
  ]
  it.each(onGpu)('of a GPU: %s', (_name, call, rows) => expect(gpuChunkRows(...call)).toBe(rows))

  it('a worker is worth 6 million flops, of eight rows at once', () => {
    const sizes = (queries: number, keys: number) =>
      ({ batch: 1, heads: 1, keyValueHeads: 1, queries, keys, headSize: 64, valueSize: 64 }) as const
    const seesAll = {
      causal: false,
      windowBefore: Infinity,
      windowAfter: Infinity,
      queryOffset: [0],
    }
    const isWorth = (queries: number, keys: number): boolean =>
      worthAWorker(sizes(queries, keys), { ...seesAll, keyLength: [keys] })
    // 256 flops per pair
    expect([isWorth(8, 2929), isWorth(8, 2930)]).toEqual([false, true])
    expect([isWorth(1, 2929), isWorth(1, 2930)]).toEqual([false, true])
    expect([isWorth(9, 1464), isWorth(9, 1465)]).toEqual([false, true])
  })
})
