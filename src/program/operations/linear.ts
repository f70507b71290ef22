import { PACKED_COLUMNS } from '../../plan/stage-arena.ts'
import { checkWidth, type Graph } from '../graph.ts'
import type { Value, WeightView } from '../operation.ts'
import type { OperationRule } from '../rule.ts'
import { sumOuter, sumRows } from '../tape.ts'

/**
 * from·Wᵀ + b; with a transposed view, from·W.
 *
 * @param graph the graph that is built
 * @param from [B, M, in]
 * @param weight [out, in]
 * @param bias [out], or null for none
 * @param name the result's purpose, for messages
 */
export function linear(
  graph: Graph,
  from: Value,
  weight: WeightView,
  bias: WeightView | null,
  name = 'activations',
): Value {
  checkWidth(graph, 'an input', from, inputsOf(weight))
  return graph.add('linear', [from], { weight, bias }, name, {
    batch: from.batch,
    rows: from.rows,
    width: outputsOf(weight),
  })
}

export const linearRule: OperationRule<'linear'> = {
  flopsPerRow: ({ attributes: { weight } }) => 2 * weight.outSize * weight.inSize,
  weights: ({ attributes: { weight, bias } }) => (bias === null ? [weight] : [weight, bias]),
  scratchPerRow: ({ attributes: { weight } }) => inputsOf(weight) + PACKED_COLUMNS,
  lower: ({ inputs: [from], outputs: [to], attributes: { weight, bias } }, { at, weight: place }) => [
    {
      op: 'linear',
      from: at(from as Value),
      to: at(to as Value),
      weight: place(weight),
      bias: bias === null ? null : place(bias),
    },
  ],
  // dX = dY·W, dW = dYᵀ·X, db = Σ dY.
  adjoint: ({ inputs: [from], attributes: { weight, bias } }, dOutput, tape) => {
    sumOuter(tape, dOutput, from as Value, weight)
    sumRows(tape, () => dOutput, bias)
    return [tape.needs(from as Value) ? linear(tape.graph, dOutput, { ...weight, transposed: true }, null) : null]
  },
}

function inputsOf({ outSize, inSize, transposed }: WeightView): number {
  return transposed === true ? outSize : inSize
}

function outputsOf({ outSize, inSize, transposed }: WeightView): number {
  return transposed === true ? inSize : outSize
}
