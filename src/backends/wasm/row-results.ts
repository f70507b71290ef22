import { STATE_BYTES, STATE_DISTANCE, STATE_INDEX, STATE_MAX, STATE_MOMENT, STATE_SEEN, STATE_SUM } from '../../../assembly/abi.ts'
import { exactLog } from '../../core/elementary.ts'
import { ROW_RESULT_NAMES, ROW_RESULTS, type RowResultName } from '../../protocol/row-results.ts'
import type { Arena } from './arena.ts'

/** What a row's state comes to. */
export type RowResult = Readonly<Record<RowResultName, number>>

const LN2 = 0.6931471805599453
const EMPTY = Object.fromEntries(ROW_RESULT_NAMES.map((name) => [name, ROW_RESULTS[name].empty])) as RowResult

/**
 * Row `row` of the states that start at byte `states`. With p = exp(unit·(s − m)): logSumExp = unit·m + ln sum,
 * entropy = ln sum − Σ p·unit·(s − m)/sum, maxWeight = 1/sum. The kernel keeps that moment in base 2.
 */
export function rowResult({ floats, integers }: Arena, states: number, row: number, unit: number): RowResult {
  const state = states + (row >> 3) * STATE_BYTES
  if ((((integers[(state + STATE_SEEN) >> 2] as number) >> (row & 7)) & 1) === 0) return EMPTY
  const lane = (state >> 2) + (row & 7)
  const at = (field: number): number => floats[lane + (field >> 2)] as number
  const sum = at(STATE_SUM)
  // A sum of 0 over allowed keys: all scores were −∞, and ∞ − ∞ is NaN.
  const logSum = sum === 0 ? NaN : exactLog(sum)
  return {
    logSumExp: at(STATE_MAX) * unit + logSum,
    entropy: Math.max(0, logSum - (LN2 * at(STATE_MOMENT)) / sum),
    maxWeight: sum === 0 ? NaN : 1 / sum,
    maxIndex: integers[lane + (STATE_INDEX >> 2)] as number,
    meanDistance: at(STATE_DISTANCE) / sum,
  }
}
