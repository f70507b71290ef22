import type { ArrayId, AttentionTask, AttentionTaskResult, Destination, Slice, TaskArray } from '../../protocol/task.ts'
import { ROW_RESULT_NAMES, rowResultArray, type RowResultName } from '../../protocol/row-results.ts'
import type { Arena } from './arena.ts'
import { copyOut } from './copy-rows.ts'
import { scoreUnit } from './task-parameters.ts'
import { rowResult } from './row-results.ts'

/** Where rows go: row r, column c at offset + r·rowStride + c·columnStride. */
export interface Sink<Data extends TaskArray = Float32Array> {
  readonly array: Data
  readonly slice: Omit<Slice, 'array'>
}

type Dense = { -readonly [Field in RowResultName | 'output' | 'weights']?: NonNullable<AttentionTaskResult[Field]> }

/**
 * A task's results on their way out: dense arrays for destinations that are `true`; slices are written pass by pass.
 */
export class TaskResults {
  readonly #task: AttentionTask
  readonly #arrayOf: (id: ArrayId) => TaskArray
  readonly #dense: Dense = {}
  readonly #wanted: readonly RowResultName[]

  constructor(task: AttentionTask, arrayOf: (id: ArrayId) => TaskArray) {
    this.#task = task
    this.#arrayOf = arrayOf
    const {
      rows,
      settings: { keys, valueSize, standard },
    } = task
    this.#wanted = ROW_RESULT_NAMES.filter((field) => task[field] !== undefined)
    if (task.output === true) this.#dense.output = new Float32Array(rows * valueSize)
    for (const field of this.#wanted) {
      if (task[field] === true) Object.assign(this.#dense, { [field]: rowResultArray(field, rows) })
    }
    if (task.weights === true)
      this.#dense.weights = new Float32Array((standard ? rows : (task.weightRows?.length ?? 0)) * keys)
  }

  /** The matrix of weights, in standard mode of scores before; undefined where none is wanted. */
  weights(): Sink | undefined {
    const {
      weights,
      settings: { keys },
    } = this.#task
    return weights === undefined ? undefined : this.#sink(weights, this.#dense.weights, keys)
  }

  /** Rows [row, row + rows) of the output, from row-major floats at byte `from` of the arena. */
  takeOutput(arena: Arena, from: number, row: number, rows: number): void {
    const {
      output,
      settings: { valueSize },
    } = this.#task
    const { array, slice } = this.#sink(output, this.#dense.output, valueSize)
    copyOut(arena.floats, from >> 2, valueSize, array, slice, row, rows, 0, valueSize)
  }

  /** What the states at byte `states` say of rows [row, row + rows). */
  takeRows(arena: Arena, states: number, row: number, rows: number): void {
    const unit = scoreUnit(this.#task)
    for (const field of this.#wanted) {
      const { array, slice } = this.#sink(this.#task[field] as Destination, this.#dense[field], 1)
      for (let r = 0; r < rows; r++)
        array[slice.offset + (row + r) * slice.rowStride] = rowResult(field, arena, states, r, unit)
    }
  }

  /** The arrays that travel with the answer. */
  finish(): Partial<AttentionTaskResult> {
    return this.#dense
  }

  /** The dense array where there is one, else the slice that the task names. */
  #sink<Data extends Float32Array | Int32Array>(
    destination: Destination,
    dense: Data | undefined,
    width: number,
  ): Sink<Data> {
    if (dense !== undefined) return { array: dense, slice: { offset: 0, rowStride: width } }
    const slice = destination as Slice
    return { array: this.#arrayOf(slice.array) as Data, slice }
  }
}
