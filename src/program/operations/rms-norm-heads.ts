import { ShapeError } from '../../core/errors.ts'
import { formatShape } from '../../core/tensor.ts'
import type { Graph } from '../graph.ts'
import type { Value, WeightView } from '../operation.ts'
import type { OperationRule } from '../rule.ts'
import { sumRows } from '../tape.ts'
import { multiply } from './elementwise.ts'
import { fold } from './fold.ts'

/**
 * RMS norm over each head of rows [.., heads·D], with one weight [D] for all of them: what queries and keys go through
 * in models with "QK norm" (Henry et al. 2020, with Zhang and Sennrich's norm).
 *
 * @param graph the graph that is built
 * @param from [B, M, heads·D]
 * @param weight [D]
 * @param epsilon added to the mean square
 */
export function rmsNormHeads(graph: Graph, from: Value, weight: WeightView, epsilon: number): Value {
  const headSize = weight.outSize
  if (from.width % headSize !== 0) {
    throw new ShapeError(
      `${graph.scope}: expected rows of whole heads of ${headSize}, got ${formatShape([from.batch, from.rows, from.width])}`,
    )
  }
  return graph.add('rms-norm-heads', [from], { headSize, weight, epsilon }, from.name, from)
}

export const rmsNormHeadsRule: OperationRule<'rms-norm-heads'> = {
  weights: ({ attributes: { weight } }) => (weight === null ? [] : [weight]),
  lower: ({ inputs: [from], outputs: [to], attributes: { headSize, weight, epsilon } }, { at, weight: place }) => [
    {
      op: 'rms-norm-heads',
      from: at(from as Value),
      to: at(to as Value),
      headSize,
      weight: weight === null ? null : place(weight),
      epsilon,
    },
  ],
  // Of each head as of a row of RMS norm; dw is summed over heads and rows.
  adjoint: ({ inputs: [from], attributes: { headSize, weight, epsilon } }, dOutput, tape) => {
    const { graph } = tape
    const x = (): Value => tape.recall(from as Value)
    const normalised = (): Value =>
      graph.add('rms-norm-heads', [x()], { headSize, weight: null, epsilon }, 'activations', dOutput)
    sumRows(tape, () => fold(graph, multiply(graph, normalised(), dOutput), dOutput.width / headSize), weight)
    const needed = weight !== null && tape.needs(from as Value)
    return [needed ? graph.add('rms-norm-backward', [x(), dOutput], { weight, epsilon }, 'activations', dOutput) : null]
  },
}
