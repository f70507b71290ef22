import type { Graph } from '../../../src/program/graph.ts'
import type { OperationKind, Value } from '../../../src/program/operation.ts'
import type { Parameter } from '../../../src/program/parameter.ts'

/** B, M and the width that a case makes its shapes from. */
export interface Sizes {
  readonly B: number
  readonly M: number
  readonly W: number
}

/** Something to compute, in float64: inputs and parameters as plain arrays, to the output's elements. */
export type Reference = (
  given: {
    readonly inputs: readonly Float64Array[]
    readonly parameters: readonly Float64Array[]
    readonly tokens: Int32Array
  },
  sizes: Sizes,
) => Float64Array

export interface OperationCase {
  /** widths of the float inputs [B, M, width], whose gradients are wanted */
  readonly inputs: (sizes: Sizes) => readonly number[]
  /** shapes of the parameters */
  readonly parameters?: (sizes: Sizes) => readonly (readonly number[])[]
  /** Int32 [B, M] from 0 to below it */
  readonly tokenKinds?: (sizes: Sizes) => number
  readonly build: (
    graph: Graph,
    inputs: readonly Value[],
    parameters: readonly Parameter[],
    tokens: Value,
    sizes: Sizes,
  ) => Value
  readonly reference: Reference
  /** what the graph's first row counts as. @default 0 */
  readonly position?: number
  /** it is a loss, each row times that */
  readonly factor?: number
  /** times the usual tolerance, and why */
  readonly slack?: number
  /** elements of each tensor that are checked by finite differences. @default 24 */
  readonly samples?: number
}

/** Of each row: the elements of all inputs side by side, to those of the output. */
export function rowWise(
  row: (
    inputs: readonly Float64Array[],
    place: { readonly b: number; readonly i: number; readonly token: number },
    parameters: readonly Float64Array[],
  ) => ArrayLike<number>,
): Reference {
  return ({ inputs, parameters, tokens }, { B, M }) => {
    const rows = Array.from({ length: B * M }, (_, r) =>
      row(
        inputs.map((input) => rowOf(input, r, B * M)),
        { b: Math.floor(r / M), i: r % M, token: tokens[r]! },
        parameters,
      ),
    )
    const output = new Float64Array(B * M * (rows[0]?.length ?? 0))
    rows.forEach((each, r) => output.set(each, r * each.length))
    return output
  }
}

export const rowOf = (data: Float64Array, r: number, rows: number): Float64Array =>
  data.subarray((r * data.length) / rows, ((r + 1) * data.length) / rows)
export const sumOf = (values: ArrayLike<number>, of: (value: number, at: number) => number): number =>
  Array.from(values).reduce((sum, value, at) => sum + of(value, at), 0)

export const one = ({ W }: Sizes): number[] => [W]
export const two = ({ W }: Sizes): number[] => [W, W]

/** Cases by kind, and by what is special about each. */
export type CaseTable = Readonly<Partial<Record<OperationKind, Readonly<Record<string, OperationCase>>>>>
