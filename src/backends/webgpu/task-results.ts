import { ROW_RESULT_NAMES, ROW_RESULTS, rowResultArray, type RowResultName } from '../../protocol/row-results.ts'
import type { ArrayId, AttentionTask, AttentionTaskResult, Destination, TaskArray } from '../../protocol/task.ts'
import type { BlockResult } from './attention-block.ts'
import { unpackRows } from './pack-rows.ts'

/** What goes back with the task's answer: the dense arrays of destinations that were `true`. */
export type DenseResults = { -readonly [Name in keyof AttentionTaskResult]?: AttentionTaskResult[Name] }

/**
 * Collects what a task came to and publishes it at the end, so that a task that fails or is cancelled writes nothing.
 */
export class TaskResults {
  readonly #task: AttentionTask
  readonly #array: (id: ArrayId) => TaskArray
  readonly #blocks: { first: number; rows: number; result: BlockResult | null }[] = []
  readonly #dense: DenseResults = {}

  constructor(task: AttentionTask, array: (id: ArrayId) => TaskArray) {
    this.#task = task
    this.#array = array
  }

  /** `null`: no row of the block may see a key. */
  add(first: number, rows: number, result: BlockResult | null): void {
    this.#blocks.push({ first, rows, result })
  }

  /** Writes weights of selected row `index` … into place; weights are large, so they are not held back. */
  weights(
    first: number,
    rows: number,
    weights: Float32Array | null,
    stride: number,
    keys: { first: number; count: number },
  ): void {
    const task = this.#task
    if (task.weights === undefined || rows === 0) return
    const source = weights ?? new Float32Array(keys.count)
    const selected = task.weightRows?.length ?? task.rows
    const { target, slice } = this.#target(task.weights, 'weights', selected, task.settings.keys)
    unpackRows({ data: source, stride: weights === null ? 0 : stride }, target, slice, { first, count: rows }, keys)
  }

  publish(): DenseResults {
    const task = this.#task
    for (const block of this.#blocks) {
      this.#writeOutput(block.first, block.rows, block.result)
      ROW_RESULT_NAMES.forEach((name, index) => {
        const destination = task[name]
        if (destination !== undefined) this.#writeRows(name, destination, index, block)
      })
    }
    return this.#dense
  }

  #writeOutput(first: number, rows: number, result: BlockResult | null): void {
    const { valueSize } = this.#task.settings
    const { target, slice } = this.#target(this.#task.output, 'output', this.#task.rows, valueSize)
    const source = result?.output ?? new Float32Array(valueSize)
    const stride = result === null ? 0 : Math.ceil(valueSize / 4) * 4
    unpackRows({ data: source, stride: stride }, target, slice, { first, count: rows }, { first: 0, count: valueSize })
  }

  #writeRows(
    name: RowResultName,
    destination: Destination,
    index: number,
    block: { first: number; rows: number; result: BlockResult | null },
  ): void {
    const { target, slice } = this.#target(destination, name, this.#task.rows, 1)
    const source =
      block.result === null ? emptyRows(name, block.rows) : rowsOf(name, block.result.rowResults, index, block.rows)
    unpackRows(
      { data: source, stride: 1 },
      target,
      slice,
      { first: block.first, count: block.rows },
      { first: 0, count: 1 },
    )
  }

  /** The array that a destination names, or a dense one that goes back with the answer. */
  #target(destination: Destination, name: RowResultName | 'output' | 'weights', rows: number, columns: number) {
    if (destination !== true) return { target: this.#array(destination.array), slice: destination }
    const made =
      this.#dense[name] ??
      (name === 'output' || name === 'weights' ? new Float32Array(rows * columns) : rowResultArray(name, rows))
    Object.assign(this.#dense, { [name]: made })
    return { target: made, slice: { array: -1, offset: 0, rowStride: columns } }
  }
}

function rowsOf(name: RowResultName, all: Uint32Array, index: number, rows: number): TaskArray {
  const bits = all.subarray(index * rows, (index + 1) * rows)
  return new ROW_RESULTS[name].Class(bits.buffer as ArrayBuffer, bits.byteOffset, rows)
}

function emptyRows(name: RowResultName, rows: number): TaskArray {
  return rowResultArray(name, rows).fill(ROW_RESULTS[name].empty)
}
