import type { Graph } from '../graph.ts'
import type { Operation, OperationKind } from '../operation.ts'
import type { Parameter } from '../parameter.ts'
import type { OperationRule } from '../rule.ts'
import { appendRule } from './append.ts'
import {
  activateBackwardRule,
  activateRule,
  addRule,
  dropRule,
  multiplyRule,
  scaleRule,
  subtractRule,
} from './elementwise.ts'
import { embedRule } from './embed.ts'
import { foldRule } from './fold.ts'
import { linearRule } from './linear.ts'
import { crossEntropyBackwardRule, crossEntropyRule, squaredErrorRule } from './loss.ts'
import { maxRowsBackwardRule, maxRowsRule } from './max-rows.ts'
import { normBackwardRule, normaliseRule, normRule } from './norm.ts'
import { positionsRule, rotateRule } from './positions.ts'
import { rmsNormaliseRule, rmsNormBackwardRule, rmsNormRule } from './rms-norm.ts'
import { rmsNormHeadsRule } from './rms-norm-heads.ts'
import { splitRule } from './split.ts'

/** Kinds that need all rows of something: attention, its gradient, and sums. Everything else is row-wise. */
const WHOLE_KINDS = [
  'attend',
  'attend-backward',
  'sum-outer',
  'sum-rows',
  'sum-table',
] as const satisfies readonly OperationKind[]
export type WholeKind = (typeof WHOLE_KINDS)[number]
export type RowKind = Exclude<OperationKind, WholeKind>

/** Every row-wise operation's rule: a kind without one does not compile. */
const RULES = {
  linear: linearRule,
  norm: normRule,
  'rms-norm': rmsNormRule,
  add: addRule,
  subtract: subtractRule,
  multiply: multiplyRule,
  scale: scaleRule,
  activate: activateRule,
  drop: dropRule,
  rotate: rotateRule,
  embed: embedRule,
  positions: positionsRule,
  append: appendRule,
  split: splitRule,
  'max-rows': maxRowsRule,
  'cross-entropy': crossEntropyRule,
  'squared-error': squaredErrorRule,
  normalise: normaliseRule,
  'norm-backward': normBackwardRule,
  'rms-normalise': rmsNormaliseRule,
  'rms-norm-backward': rmsNormBackwardRule,
  'rms-norm-heads': rmsNormHeadsRule,
  fold: foldRule,
  'max-rows-backward': maxRowsBackwardRule,
  'activate-backward': activateBackwardRule,
  'cross-entropy-backward': crossEntropyBackwardRule,
} satisfies { [K in RowKind]: OperationRule<K> }

/** Every kind that a graph may hold. */
export const OPERATION_KINDS: readonly OperationKind[] = [...(Object.keys(RULES) as RowKind[]), ...WHOLE_KINDS]

export function isRowWise(operation: Operation): boolean {
  return Object.hasOwn(RULES, operation.kind)
}

export function ruleOf(operation: Operation): OperationRule<OperationKind> {
  return RULES[operation.kind as RowKind] as unknown as OperationRule<OperationKind>
}

/** What an operation reads that is learned. */
export function parametersOf(operation: Operation): Parameter[] {
  if (!isRowWise(operation)) return []
  const rule = ruleOf(operation)
  return [
    ...(rule.weights?.(operation) ?? []).map(({ parameter }) => parameter),
    ...(rule.tables?.(operation) ?? []),
    ...(rule.learned?.(operation) ?? []),
  ]
}

/** Each parameter that a graph's operations read, once. */
export function parametersOfGraph({ operations }: Graph): Set<Parameter> {
  return new Set(operations.flatMap(parametersOf))
}
