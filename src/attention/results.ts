import type { ArrayClass, Ledger, Purpose } from '../core/ledger.ts'
import type { PlannedResult } from '../plan/attention-request.ts'
import type { Transport } from '../plan/transport.ts'
import { ROW_RESULTS, STATISTIC_NAMES, type RowResultName } from '../protocol/row-results.ts'
import type { HeadResult } from '../protocol/heads-task.ts'
import type { MovingHeads } from '../protocol/moving-slice.ts'
import type { ArrayId, AttentionTaskResult, ReturnedName, TaskArray } from '../protocol/task.ts'
import type { Layout, Strides } from './layout.ts'
import type { ResolvedOptions } from './resolve-options.ts'

/** The results that a task may have, by the names that tasks use. */
export type ResultName = ReturnedName

/** One result of the call: a row of `columns` elements for each query row of each head. */
interface ResultSpec {
  readonly name: ResultName
  readonly Class: ArrayClass<TaskArray>
  readonly columns: number
  readonly strides: Strides
  /** the value of a row that no task computes, as when there are no keys */
  readonly empty: number
  /** the caller's own array, or null */
  readonly given: TaskArray | null
}

/** The whole-call results that these options ask for; weights of chosen rows are kept apart (`Selection`). */
export function resultSpecs(layout: Layout, options: ResolvedOptions): ResultSpec[] {
  const { heads, queries, keys, valueSize } = layout.sizes
  const perRow: Strides = { batch: heads * queries, head: queries, row: 1 }
  const row = (name: RowResultName): ResultSpec => ({
    name,
    Class: ROW_RESULTS[name].Class,
    columns: 1,
    strides: perRow,
    empty: ROW_RESULTS[name].empty,
    given: null,
  })
  const specs: ResultSpec[] = [
    { name: 'output', Class: Float32Array, columns: valueSize, strides: layout.output, empty: 0, given: options.out },
  ]
  if (options.logSumExp) specs.push(row('logSumExp'))
  if (options.statistics) specs.push(...STATISTIC_NAMES.map(row))
  if (options.settings.standard) {
    const strides = { batch: heads * queries * keys, head: queries * keys, row: keys }
    specs.push({ name: 'weights', Class: Float32Array, columns: keys, strides, empty: 0, given: null })
  }
  return specs
}

/** Rows of one head. */
export interface PlacedRows {
  readonly batch: number
  readonly head: number
  readonly rowStart: number
  readonly rows: number
}

/** What the plan must know of a result. */
export function plannedResults(
  specs: readonly ResultSpec[],
  layout: Layout,
  options: ResolvedOptions,
  transport: Transport,
  shared: boolean,
): PlannedResult[] {
  const { batch, heads, queries } = layout.sizes
  return specs.map((spec) => ({
    purpose: purposeOf(spec.name, options),
    rowBytes: spec.columns * 4,
    rows: batch * heads * queries,
    direct: isDirect(spec, options, transport, shared),
    owned: spec.given === null,
  }))
}

/** The matrix of standard mode is a result only where all of it was asked for. */
function purposeOf(name: ResultName, options: ResolvedOptions): Purpose {
  if (name === 'output') return name
  if (name === 'weights') return options.weights === 'all' ? name : 'score matrix'
  return ROW_RESULTS[name].purpose
}

/**
 * Whether lanes write the result in place. A caller's `out` is written by the calling thread alone (but on the calling
 * thread's own lane): a worker that has not yet heard of an abort must not write where the caller can see it.
 */
function isDirect(spec: ResultSpec, options: ResolvedOptions, transport: Transport, shared: boolean): boolean {
  if (transport === 'local') return true
  if (transport === 'transfer') return false
  if (spec.name === 'weights' && options.weights !== 'all') return true
  return shared && spec.given === null
}

/** The arrays that a call fills, written by lanes in place or chunk by chunk as results come back. */
export class Results {
  readonly #specs: readonly ResultSpec[]
  readonly #arrays = new Map<ResultName, TaskArray>()
  readonly #direct = new Map<ResultName, ArrayId>()

  /** @param shared whether results stand in shared memory: they do where all inputs did */
  constructor(
    layout: Layout,
    options: ResolvedOptions,
    transport: Transport,
    shared: boolean,
    ledger: Ledger,
    /** none where results come in parts that are merged first */
    destination: ((array: TaskArray) => ArrayId) | null,
  ) {
    const { batch, heads, queries } = layout.sizes
    this.#specs = resultSpecs(layout, options)
    for (const spec of this.#specs) {
      const direct = isDirect(spec, options, transport, shared)
      const scratch = spec.name === 'weights' && options.weights !== 'all'
      const inShared = scratch ? transport === 'shared' : shared
      const array =
        spec.given ??
        ledger.array(purposeOf(spec.name, options), spec.Class, batch * heads * queries * spec.columns, inShared)
      this.#arrays.set(spec.name, array)
      if (direct && destination !== null) this.#direct.set(spec.name, destination(array))
    }
  }

  /** Gives every row the value of one that sees no key; for calls without keys, which run no task. */
  fillEmpty(): void {
    for (const { name, empty } of this.#specs) this.#arrays.get(name)?.fill(empty)
  }

  array(name: ResultName): TaskArray | undefined {
    return this.#arrays.get(name)
  }

  /** Where tasks put the results of their heads. */
  get destinations(): HeadResult[] {
    return this.#specs.map(({ name, columns, strides }) => {
      const array = this.#direct.get(name)
      return { name, columns, to: array === undefined ? 'returned' : rowsOfHeads(array, strides) }
    })
  }

  /** Copies what came back with a task into place. */
  place({ batch, head, rowStart, rows }: PlacedRows, result: Partial<AttentionTaskResult>): void {
    for (const spec of this.#specs) {
      const chunk = result[spec.name]
      if (chunk !== undefined && !this.#direct.has(spec.name))
        this.#placeRows(spec, chunk, offsetOf(spec.strides, batch, head, rowStart), rows)
    }
  }

  #placeRows({ name, strides, columns }: ResultSpec, chunk: TaskArray, start: number, rows: number): void {
    const array = this.#arrays.get(name)
    if (strides.row === columns) array?.set(chunk.subarray(0, rows * columns), start)
    else
      for (let row = 0; row < rows; row++)
        array?.set(chunk.subarray(row * columns, (row + 1) * columns), start + row * strides.row)
  }

  /** The output rows of a task, as a dense copy that the caller may keep. */
  outputRows({ batch, head, rowStart, rows }: PlacedRows): Float32Array {
    const spec = this.#specs[0]
    const array = this.#arrays.get('output')
    if (spec === undefined || !(array instanceof Float32Array)) return new Float32Array(0)
    const { columns, strides } = spec
    const dense = new Float32Array(rows * columns)
    for (let row = 0; row < rows; row++) {
      const start = offsetOf(strides, batch, head, rowStart + row)
      dense.set(array.subarray(start, start + columns), row * columns)
    }
    return dense
  }
}

function rowsOfHeads(array: ArrayId, { batch, head, row }: Strides): MovingHeads {
  return { array, offset: 0, batchStride: batch, headStride: head, rowStride: row, startStride: row }
}

function offsetOf(strides: Strides, batch: number, head: number, row: number): number {
  return batch * strides.batch + head * strides.head + row * strides.row
}
