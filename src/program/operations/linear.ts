import { checkWidth, type Graph } from '../graph.ts'
import type { Value, WeightView } from '../operation.ts'
import type { OperationRule } from '../rule.ts'

/** from·Wᵀ + b. */
export function linear(graph: Graph, from: Value, weight: WeightView, bias: WeightView | null, name = 'activations'): Value {
  checkWidth(graph, 'an input', from, weight.inSize)
  return graph.add('linear', [from], { weight, bias }, name, { batch: from.batch, rows: from.rows, width: weight.outSize })
}

export const linearRule: OperationRule<'linear'> = {
  flopsPerRow: ({ attributes: { weight } }) => 2 * weight.outSize * weight.inSize,
  weights: ({ attributes: { weight, bias } }) => (bias === null ? [weight] : [weight, bias]),
  lower: ({ inputs: [from], outputs: [to], attributes: { weight, bias } }, { at, weight: place }) => [
    { op: 'linear', from: at(from as Value), to: at(to as Value), weight: place(weight), bias: bias === null ? null : place(bias) },
  ],
}
