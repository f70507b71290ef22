import type { Purpose } from '../core/ledger.ts'
import type { AttentionTask, TaskArray } from './task.ts'

/** A result with one number for each query row. */
interface RowResultFacts {
  readonly Class: new (length: number) => TaskArray
  /** what plans and reports call its bytes */
  readonly purpose: Purpose
  /** the value of a fully masked row */
  readonly empty: number
  /** whether `returnStatistics` asks for it */
  readonly statistic: boolean
}

/**
 * Every result per query row that a task can return, by the name that tasks use, in the order in which GPU kernels
 * write them.
 */
export const ROW_RESULTS = {
  /** natural */
  logSumExp: { Class: Float32Array, purpose: 'log-sum-exp', empty: -Infinity, statistic: false },
  /** nats */
  entropy: { Class: Float32Array, purpose: 'entropy', empty: 0, statistic: true },
  maxWeight: { Class: Float32Array, purpose: 'largest weight', empty: 0, statistic: true },
  maxIndex: { Class: Int32Array, purpose: 'largest index', empty: -1, statistic: true },
  meanDistance: { Class: Float32Array, purpose: 'mean distance', empty: 0, statistic: true },
} as const satisfies Readonly<Record<string, RowResultFacts>>

export type RowResultName = keyof typeof ROW_RESULTS

export const ROW_RESULT_NAMES: readonly RowResultName[] = Object.keys(ROW_RESULTS) as RowResultName[]
export const STATISTIC_NAMES: readonly RowResultName[] = ROW_RESULT_NAMES.filter((name) => ROW_RESULTS[name].statistic)

/** Whether the task needs the sums that only statistics are made from. */
export function asksForStatistics(task: Pick<AttentionTask, RowResultName>): boolean {
  return STATISTIC_NAMES.some((name) => task[name] !== undefined)
}

/** A dense array of the result for some rows, zeros. */
export function rowResultArray(name: RowResultName, rows: number): TaskArray {
  return new ROW_RESULTS[name].Class(rows)
}
