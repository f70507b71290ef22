import type { Operation, OperationKind } from '../operation.ts'
import type { OperationRule } from '../rule.ts'
import { appendRule } from './append.ts'
import { activateRule, addRule, dropRule, multiplyRule } from './elementwise.ts'
import { embedRule } from './embed.ts'
import { linearRule } from './linear.ts'
import { normRule } from './norm.ts'
import { splitRule } from './split.ts'
import { positionsRule, rotateRule } from './positions.ts'

/** Row-wise kinds: attention alone needs all rows of its keys. */
export type RowKind = Exclude<OperationKind, 'attend'>

/** Every row-wise operation's rule: a kind without one does not compile. */
const RULES = {
  linear: linearRule,
  norm: normRule,
  add: addRule,
  multiply: multiplyRule,
  activate: activateRule,
  drop: dropRule,
  rotate: rotateRule,
  embed: embedRule,
  positions: positionsRule,
  append: appendRule,
  split: splitRule,
} satisfies { [K in RowKind]: OperationRule<K> }

export function ruleOf(operation: Operation): OperationRule<OperationKind> {
  return RULES[operation.kind as RowKind] as unknown as OperationRule<OperationKind>
}
