import { describe, expect, it } from 'vitest'
import { stageChunkRows } from '../../src/plan/chunk-rows.ts'

const HEAVY = 6e6

describe('rows of a stage’s task', () => {
  const cases: [string, [number, number, number, number, boolean], number][] = [
    ['two tasks a lane', [1, 2048, HEAVY, 2, true], 512],
    ['whole tiles', [1, 700, HEAVY, 2, true], 192],
    ['no less than a tile while every lane gets one', [1, 256, HEAVY, 2, true], 64],
    ['less where lanes would have nothing to do', [1, 64, HEAVY, 2, true], 32],
    ['1024 at most', [1, 65_536, HEAVY, 2, true], 1024],
    ['all of a lone lane', [1, 700, HEAVY, 1, true], 700],
    ['four tasks a lane where rows travel', [1, 2048, HEAVY, 2, false], 256],
    ['batches count as tasks', [4, 512, HEAVY, 2, true], 512],
    ['one task where the work is tiny', [1, 512, 100, 2, true], 512],
    ['at least one row', [0, 0, HEAVY, 2, true], 1],
  ]
  it.each(cases)('%s', (_name, call, rows) => expect(stageChunkRows(...call)).toBe(rows))
})
