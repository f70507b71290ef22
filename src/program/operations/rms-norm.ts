import { checkWidth, type Graph } from '../graph.ts'
import type { Value, WeightView } from '../operation.ts'
import { noAdjoint, type OperationRule } from '../rule.ts'
import { sumRows } from '../tape.ts'
import { multiply } from './elementwise.ts'

/**
 * x/√(mean(x²) + epsilon)·w over each row (Zhang and Sennrich 2019).
 *
 * @param graph the graph that is built
 * @param from [B, M, size]
 * @param weight [size]
 * @param epsilon added to the mean square
 */
export function rmsNorm(graph: Graph, from: Value, weight: WeightView, epsilon: number): Value {
  checkWidth(graph, 'an input', from, weight.outSize)
  return graph.add('rms-norm', [from], { weight, epsilon }, 'activations', from)
}

export const rmsNormRule: OperationRule<'rms-norm'> = {
  weights: ({ attributes: { weight } }) => [weight],
  lower: ({ inputs: [from], outputs: [to], attributes: { weight, epsilon } }, { at, weight: place }) => [
    { op: 'rms-norm', from: at(from as Value), to: at(to as Value), weight: place(weight), epsilon },
  ],
  // With x̂ the normalised row and g = dy ∘ w: dx = (g − x̂·mean(g ∘ x̂))/√(mean(x²) + epsilon), dw = Σ dy ∘ x̂.
  adjoint: ({ inputs: [from], attributes: { weight, epsilon } }, dOutput, tape) => {
    const x = (): Value => tape.recall(from as Value)
    sumRows(
      tape,
      () => multiply(tape.graph, tape.graph.add('rms-normalise', [x()], { epsilon }, 'activations', dOutput), dOutput),
      weight,
    )
    return [
      tape.needs(from as Value)
        ? tape.graph.add('rms-norm-backward', [x(), dOutput], { weight, epsilon }, 'activations', dOutput)
        : null,
    ]
  },
}

export const rmsNormaliseRule: OperationRule<'rms-normalise'> = {
  lower: ({ inputs: [from], outputs: [to], attributes: { epsilon } }, { at }) => [
    { op: 'rms-normalise', from: at(from as Value), to: at(to as Value), epsilon },
  ],
  adjoint: noAdjoint,
}

export const rmsNormBackwardRule: OperationRule<'rms-norm-backward'> = {
  weights: ({ attributes: { weight } }) => [weight],
  lower: ({ inputs: [x, dy], outputs: [to], attributes: { weight, epsilon } }, { at, weight: place }) => [
    {
      op: 'rms-norm-backward',
      x: at(x as Value),
      dy: at(dy as Value),
      to: at(to as Value),
      weight: place(weight),
      epsilon,
    },
  ],
  adjoint: noAdjoint,
}
