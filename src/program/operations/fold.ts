import type { Graph } from '../graph.ts'
import type { Value } from '../operation.ts'
import { noAdjoint, type OperationRule } from '../rule.ts'

/** The sum of the `groups` equal parts of each row, such as its heads. */
export function fold(graph: Graph, from: Value, groups: number): Value {
  if (groups === 1) return from
  return graph.add('fold', [from], { groups }, 'activations', {
    batch: from.batch,
    rows: from.rows,
    width: from.width / groups,
  })
}

/** Gradients alone use it. */
export const foldRule: OperationRule<'fold'> = {
  lower: ({ inputs: [from], outputs: [to], attributes: { groups } }, { at }) => [
    { op: 'fold', from: at(from as Value), to: at(to as Value), groups },
  ],
  adjoint: noAdjoint,
}
