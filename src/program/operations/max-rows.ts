import type { Graph } from '../graph.ts'
import type { Value } from '../operation.ts'
import { noAdjoint, type OperationRule } from '../rule.ts'
import { asRows } from './elementwise.ts'

/**
 * Rows [B, M, W] to the largest of each column over the rows of each segment, [B, S, W]; zeros for a segment without
 * rows. The first row that holds a largest element is the one that counts, for the gradient too, and NaN is larger than
 * every number (PyTorch's `max` over a dimension).
 *
 * @param numbers [B·M], of which those from 0 to `count` − 1 count
 * @param count S
 */
export function maxRows(graph: Graph, from: Value, numbers: Int32Array, count: number): Value {
  const { batch, rows, width } = from
  const storage = { layout: 'tokens' as const, integers: true }
  const segments = graph.input('pool segments', { batch, rows, width: 1 }, numbers, storage)
  const sizes = { batch, rows: count, width }
  const [largest] = graph.addWith('max-rows', [asRows(graph, from), segments], {}, [
    { name: 'activations', sizes },
    { name: 'places of the largest', sizes },
  ])
  return largest as Value
}

export const maxRowsRule: OperationRule<'max-rows'> = {
  inRegisters: [],
  inWhole: [0, 1],
  // Comparisons: each row is looked at once.
  flopsPerRow: ({ inputs: [from], outputs: [to] }) =>
    ((from as Value).rows * (from as Value).width) / Math.max(1, (to as Value).rows),
  lower: ({ inputs: [from, segments], outputs: [to, places] }, { at, whole }) => [
    {
      op: 'max-rows',
      rows: whole(from as Value),
      segments: whole(segments as Value),
      sequence: (from as Value).rows,
      to: at(to as Value),
      places: at(places as Value),
    },
  ],
  adjoint: ({ inputs: [from, segments], outputs: [, places] }, dOutput, { graph, recall }) => [
    graph.add(
      'max-rows-backward',
      [asRows(graph, dOutput), recall(places as Value), segments as Value],
      {},
      'activations',
      from as Value,
    ),
    null,
  ],
}

/** Gradients alone use it. */
export const maxRowsBackwardRule: OperationRule<'max-rows-backward'> = {
  inRegisters: [],
  inWhole: [0, 1],
  lower: ({ inputs: [dLargest, places, segments], outputs: [to] }, { at, whole, rows }) => [
    {
      op: 'max-rows-backward',
      dLargest: whole(dLargest as Value),
      places: whole(places as Value),
      count: (dLargest as Value).rows,
      segments: rows(segments as Value),
      to: at(to as Value),
    },
  ],
  adjoint: noAdjoint,
}
