import type { CrossEntropyRule } from '../../protocol/stage.ts'
import { checkSameShape, type Graph } from '../graph.ts'
import type { Value } from '../operation.ts'
import { noAdjoint, type OperationRule } from '../rule.ts'
import { scale, subtract } from './elementwise.ts'

/**
 * The cross-entropy of each row of logits against its target [batch, rows] (PyTorch's `cross_entropy` with label
 * smoothing).
 *
 * @param factor what a row counts in the whole loss: one over the number of targets that count
 * @returns [batch, rows, 1]
 */
export function crossEntropy(
  graph: Graph,
  logits: Value,
  targets: Value,
  rule: CrossEntropyRule,
  factor: number,
): Value {
  const sizes = { batch: logits.batch, rows: logits.rows, width: 1 }
  return graph.addWith('cross-entropy', [logits, targets], { rule, factor }, [
    { name: 'loss', sizes },
    { name: 'log-sum-exp', sizes },
  ])[0] as Value
}

export const crossEntropyRule: OperationRule<'cross-entropy'> = {
  inRegisters: [0],
  scratchPerRow: () => 2,
  lower: ({ inputs: [logits, targets], outputs: [loss, logSumExp], attributes: { rule } }, { at, rows }) => [
    {
      op: 'cross-entropy',
      logits: at(logits as Value),
      targets: rows(targets as Value),
      loss: at(loss as Value),
      logSumExp: at(logSumExp as Value),
      rule,
    },
  ],
  // The loss is where gradients start: a row's own gradient is its factor.
  adjoint: ({ inputs: [logits, targets], outputs: [, logSumExp], attributes }, _dLoss, { graph, recall }) => [
    graph.add(
      'cross-entropy-backward',
      [recall(logits as Value), targets as Value, recall(logSumExp as Value)],
      attributes,
      'activations',
      logits as Value,
    ),
    null,
  ],
}

export const crossEntropyBackwardRule: OperationRule<'cross-entropy-backward'> = {
  inRegisters: [0, 2],
  inPlace: [0],
  scratchPerRow: () => 2,
  lower: ({ inputs: [, targets, logSumExp], outputs: [to], attributes: { rule, factor } }, { at, rows }) => [
    {
      op: 'cross-entropy-backward',
      logits: at(to as Value),
      targets: rows(targets as Value),
      logSumExp: at(logSumExp as Value),
      factor,
      rule,
    },
  ],
  adjoint: noAdjoint,
}

/**
 * Σ_c (x_c − y_c)² of each row; the gradient is that of x. @param factor what a row counts in the whole loss @returns
 * [batch, rows, 1]
 */
export function squaredError(graph: Graph, x: Value, y: Value, factor: number): Value {
  checkSameShape(graph, 'output and target', x, y)
  return graph.add('squared-error', [x, y], { factor }, 'loss', { batch: x.batch, rows: x.rows, width: 1 })
}

export const squaredErrorRule: OperationRule<'squared-error'> = {
  lower: ({ inputs: [x, y], outputs: [to] }, { at }) => [
    { op: 'squared-error', x: at(x as Value), y: at(y as Value), to: at(to as Value) },
  ],
  adjoint: ({ inputs: [x, y], attributes: { factor } }, _dLoss, { graph, recall }) => [
    scale(graph, subtract(graph, recall(x as Value), y as Value), 2 * factor),
    null,
  ],
}
