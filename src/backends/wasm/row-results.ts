import {
  STATE_BYTES,
  STATE_DISTANCE,
  STATE_INDEX,
  STATE_MAX,
  STATE_MOMENT,
  STATE_SEEN,
  STATE_SUM,
} from '../../../assembly/abi.ts'
import { exactLog } from '../../core/elementary.ts'
import { ROW_RESULTS, type RowResultName } from '../../protocol/row-results.ts'
import type { Arena } from './arena.ts'

const LN2 = 0.6931471805599453

/** With p = exp(unit·(s − m)); `lane` is the place of a row's maximum among the floats. */
const RESULTS: Readonly<Record<RowResultName, (arena: Arena, lane: number, unit: number) => number>> = {
  // unit·m + ln sum
  logSumExp: (arena, lane, unit) => at(arena, lane, STATE_MAX) * unit + logSum(arena, lane),
  // ln sum − Σ p·unit·(s − m)/sum; the kernel keeps that moment in base 2
  entropy: (arena, lane) =>
    Math.max(0, logSum(arena, lane) - (LN2 * at(arena, lane, STATE_MOMENT)) / at(arena, lane, STATE_SUM)),
  maxWeight: (arena, lane) => (at(arena, lane, STATE_SUM) === 0 ? NaN : 1 / at(arena, lane, STATE_SUM)),
  maxIndex: ({ integers }, lane) => integers[lane + (STATE_INDEX >> 2)] as number,
  meanDistance: (arena, lane) => at(arena, lane, STATE_DISTANCE) / at(arena, lane, STATE_SUM),
}

/**
 * One result of row `row` of the states that start at byte `states`: a number at a time, so that no row makes an
 * object.
 */
export function rowResult(field: RowResultName, arena: Arena, states: number, row: number, unit: number): number {
  const state = states + (row >> 3) * STATE_BYTES
  if ((((arena.integers[(state + STATE_SEEN) >> 2] as number) >> (row & 7)) & 1) === 0) return ROW_RESULTS[field].empty
  return RESULTS[field](arena, (state >> 2) + (row & 7), unit)
}

function at({ floats }: Arena, lane: number, field: number): number {
  return floats[lane + (field >> 2)] as number
}

/** A sum of 0 over allowed keys: all scores were −∞, and ∞ − ∞ is NaN. */
function logSum(arena: Arena, lane: number): number {
  const sum = at(arena, lane, STATE_SUM)
  return sum === 0 ? NaN : exactLog(sum)
}
