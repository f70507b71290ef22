import { checkWidth, type Graph } from '../graph.ts'
import type { Value, WeightView } from '../operation.ts'
import { noAdjoint, type OperationRule } from '../rule.ts'
import { sumRows } from '../tape.ts'
import { multiply } from './elementwise.ts'

/**
 * (x − mean)/√(variance + epsilon)·w + b over each row (Ba et al. 2016).
 *
 * @param graph the graph that is built
 * @param from [B, M, size]
 * @param weight [size]
 * @param bias [size], or null for none
 * @param epsilon added to the variance
 */
export function norm(graph: Graph, from: Value, weight: WeightView, bias: WeightView | null, epsilon: number): Value {
  checkWidth(graph, 'an input', from, weight.outSize)
  return graph.add('norm', [from], { weight, bias, epsilon }, 'activations', from)
}

export const normRule: OperationRule<'norm'> = {
  weights: ({ attributes: { weight, bias } }) => (bias === null ? [weight] : [weight, bias]),
  lower: ({ inputs: [from], outputs: [to], attributes: { weight, bias, epsilon } }, { at, weight: place }) => [
    {
      op: 'norm',
      from: at(from as Value),
      to: at(to as Value),
      weight: place(weight),
      bias: bias === null ? null : place(bias),
      epsilon,
    },
  ],
  // With x̂ the normalised row and g = dy ∘ w: dx = (g − mean(g) − x̂·mean(g ∘ x̂))/√(variance + epsilon), dw = Σ dy ∘
  // x̂, db = Σ dy.
  adjoint: ({ inputs: [from], attributes: { weight, bias, epsilon } }, dOutput, tape) => {
    const x = (): Value => tape.recall(from as Value)
    sumRows(
      tape,
      () => multiply(tape.graph, tape.graph.add('normalise', [x()], { epsilon }, 'activations', dOutput), dOutput),
      weight,
    )
    sumRows(tape, () => dOutput, bias)
    return [
      tape.needs(from as Value)
        ? tape.graph.add('norm-backward', [x(), dOutput], { weight, epsilon }, 'activations', dOutput)
        : null,
    ]
  },
}

export const normaliseRule: OperationRule<'normalise'> = {
  lower: ({ inputs: [from], outputs: [to], attributes: { epsilon } }, { at }) => [
    { op: 'normalise', from: at(from as Value), to: at(to as Value), epsilon },
  ],
  adjoint: noAdjoint,
}

export const normBackwardRule: OperationRule<'norm-backward'> = {
  weights: ({ attributes: { weight } }) => [weight],
  lower: ({ inputs: [x, dy], outputs: [to], attributes: { weight, epsilon } }, { at, weight: place }) => [
    {
      op: 'norm-backward',
      x: at(x as Value),
      dy: at(dy as Value),
      to: at(to as Value),
      weight: place(weight),
      epsilon,
    },
  ],
  adjoint: noAdjoint,
}
