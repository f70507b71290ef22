import type { Graph } from './graph.ts'
import type { Value, WeightView } from './operation.ts'
import type { Parameter } from './parameter.ts'

/** What an adjoint finds: the graph that it adds to, forward values, and whose gradient is wanted. */
export interface Tape {
  readonly graph: Graph
  /** A value of the forward pass: kept, or computed again. */
  readonly recall: (value: Value) => Value
  /** Whether the gradient of a value is wanted. */
  readonly needs: (value: Value) => boolean
  /** The gradient that contributions to a parameter are added to; null where it is not wanted. */
  readonly gradientOf: (parameter: Parameter) => Value | null
}

/** Adds Σ dyᵀ·x over all rows to the gradient of a weight [out, in]. */
export function sumOuter(tape: Tape, dOutput: Value, input: Value, weight: WeightView): void {
  const gradient = tape.gradientOf(weight.parameter)
  if (gradient !== null) tape.graph.addWith('sum-outer', [dOutput, tape.recall(input)], { weight, gradient }, [])
}

/** Adds the sum of all rows to the gradient of a vector. */
export function sumRows(tape: Tape, rows: () => Value, weight: WeightView | null): void {
  const gradient = weight === null ? null : tape.gradientOf(weight.parameter)
  if (weight !== null && gradient !== null) tape.graph.addWith('sum-rows', [rows()], { weight, gradient }, [])
}

/** Adds scale·dy to the rows of a table that were looked up by tokens, or by position. */
export function sumTable(
  tape: Tape,
  dOutput: Value,
  table: Parameter,
  lookUp: { readonly tokens?: Value; readonly position?: number; readonly scale?: number },
): void {
  const gradient = tape.gradientOf(table)
  const { tokens, position = 0, scale = 1 } = lookUp
  if (gradient !== null)
    tape.graph.addWith(
      'sum-table',
      tokens === undefined ? [dOutput] : [dOutput, tokens],
      { table, gradient, scale, position },
      [],
    )
}
