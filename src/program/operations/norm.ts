import { checkWidth, type Graph } from '../graph.ts'
import type { Value, WeightView } from '../operation.ts'
import type { OperationRule } from '../rule.ts'

/** (x − mean)/√(variance + epsilon)·w + b over each row (Ba et al. 2016). */
export function norm(graph: Graph, from: Value, weight: WeightView, bias: WeightView, epsilon: number): Value {
  checkWidth(graph, 'an input', from, weight.outSize)
  return graph.add('norm', [from], { weight, bias, epsilon }, 'activations', from)
}

export const normRule: OperationRule<'norm'> = {
  weights: ({ attributes: { weight, bias } }) => [weight, bias],
  lower: ({ inputs: [from], outputs: [to], attributes: { weight, bias, epsilon } }, { at, weight: place }) => [
    { op: 'norm', from: at(from as Value), to: at(to as Value), weight: place(weight), bias: place(bias), epsilon },
  ],
}
