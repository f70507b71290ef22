import type { BatchSlice, ResidentWeight, Register, RowStep } from '../protocol/stage.ts'
import type { MovingHeads, MovingSlice } from '../protocol/moving-slice.ts'
import type { Slice } from '../protocol/task.ts'
import type { Operation, OperationKind, Value, WeightView } from './operation.ts'
import type { Parameter } from './parameter.ts'
import type { Tape } from './tape.ts'

/** A step of a stage for any chunk of its rows. */
export type StageStep = RowStep<MovingSlice, MovingHeads>

/** What an operation finds when it becomes steps: the places of its operands. */
export interface Lowering {
  /** the register of a value */
  readonly at: (value: Value) => Register
  /** the input whose register the result took over, if it did */
  readonly reused: Value | null
  readonly weight: (view: WeightView) => ResidentWeight
  /** the chunk's rows of a stored value; `shift` moves them, as in a table by position */
  readonly rows: (value: Value, shift?: number) => MovingSlice
  /** all rows of a stored value, for any batch */
  readonly whole: (value: Value) => BatchSlice
  /** a parameter [rows, width] as a table of rows */
  readonly table: (parameter: Parameter) => Slice
}

/** All that there is to know about one kind of row-wise operation: a graph may hold any, and gradients follow. */
export interface OperationRule<K extends OperationKind> {
  /** multiply-adds per row, each counted as two */
  readonly flopsPerRow?: (operation: Operation<K>) => number
  /** the weights that its lane keeps packed */
  readonly weights?: (operation: Operation<K>) => readonly WeightView[]
  /** parameters whose rows it looks up */
  readonly tables?: (operation: Operation<K>) => readonly Parameter[]
  /** parameters beside its weights and tables that have a gradient */
  readonly learned?: (operation: Operation<K>) => readonly Parameter[]
  /** indices of the inputs that must stand in registers; the others are read where they are stored. Absent: all */
  readonly inRegisters?: readonly number[]
  /** indices of the inputs, among those, of which every row needs all rows of its batch */
  readonly inWhole?: readonly number[]
  /** indices of the inputs whose register the result may take over, the best first */
  readonly inPlace?: readonly number[]
  /**
   * The gradients of the inputs, given that of the result; null where there is none, or nobody wants it. Contributions
   * to parameters are added through the tape.
   */
  readonly adjoint: (operation: Operation<K>, dOutput: Value, tape: Tape) => readonly (Value | null)[]
  /** elements beside the registers that each row of a tile needs */
  readonly scratchPerRow?: (operation: Operation<K>) => number
  readonly lower: (operation: Operation<K>, lowering: Lowering) => readonly StageStep[]
}

/** Of operations that only gradients use: there is no second derivative. */
export function noAdjoint(operation: Operation<OperationKind>): never {
  throw new Error(`program: expected an operation that has a gradient, got ${operation.kind}`)
}
