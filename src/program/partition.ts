import type { Graph } from './graph.ts'
import type { Kept } from './kept.ts'
import { isKind, type Operation, type Value } from './operation.ts'
import { ruleOf } from './operations/rules.ts'
import { isSum, RowStageBuilder, type PlacedOperations, type Stage } from './stage.ts'

/** A graph cut into stages, which run in order. */
export interface Program {
  readonly graph: Graph
  readonly stages: readonly Stage[]
  /** the values that are handed to the caller */
  readonly results: readonly Value[]
  /** of a program with gradients: what is kept of its forward pass */
  readonly keeps?: Kept
  /** the stage that makes a value */
  readonly stageOf: ReadonlyMap<Value, number>
}

/** A stage while operations are placed: of rows, or one operation that is a stage of its own. */
interface OpenStage {
  readonly batch: number
  readonly rows: number
  attend: Operation<'attend'> | null
  readonly operations: Operation[]
  readonly alone: Operation | null
}

/**
 * Cuts a graph into stages: each operation goes into the first stage that has its rows and comes after its inputs. A
 * cut is only where an operation must see all rows: attention reads its query, key and value from memory, which an
 * earlier stage has written.
 *
 * @param results values that must be in memory at the end
 * @param watched values that must be in memory when their stage is done
 */
export function partition(graph: Graph, results: readonly Value[], watched: readonly Value[] = []): Program {
  const placement = new Placement(graph)
  for (const operation of withoutUnused(graph.operations, [...results, ...watched])) placement.place(operation)
  const { stageOf } = placement
  const stored = placement.storedValues([...results, ...watched])
  const stages = placement.stages.map((stage, index) =>
    finish(
      stage,
      (value) => stageOf.get(value) === index,
      (value) => stored.has(value),
    ),
  )
  return { graph, results, stageOf, stages }
}

/** The operations that a result depends on. Sums are results by themselves, and so is what is added to a cache. */
function withoutUnused(operations: readonly Operation[], results: readonly Value[]): Operation[] {
  const needed = new Set(results)
  const kept: Operation[] = []
  for (const operation of operations.toReversed()) {
    const used =
      operation.outputs.length === 0 ||
      operation.kind === 'append' ||
      operation.outputs.some((output) => needed.has(output))
    if (!used) continue
    for (const input of operation.inputs) needed.add(input)
    kept.push(operation)
  }
  return kept.reverse()
}

/** Which operation goes into which stage. */
class Placement {
  readonly stages: OpenStage[] = []
  readonly stageOf = new Map<Value, number>()
  readonly #placed: { readonly operation: Operation; readonly index: number }[] = []
  /** the first stage that a block may use */
  readonly #firstOf = new Map([[0, 0]])

  constructor(private readonly graph: Graph) {}

  place(operation: Operation): void {
    const first =
      this.#firstOf.get(operation.region) ??
      (this.graph.joining.has(operation.region) ? Math.max(0, this.stages.length - 1) : this.stages.length)
    this.#firstOf.set(operation.region, first)
    const index = this.#placeOf(operation, first)
    const { batch, rows } = domainOf(operation)
    const alone = isAlone(operation) ? operation : null
    const stage = (this.stages[index] ??= { batch, rows, attend: null, operations: [], alone })
    if (isKind(operation, 'attend')) stage.attend = operation
    else if (alone === null) stage.operations.push(operation)
    for (const output of operation.outputs) this.stageOf.set(output, index)
    this.#placed.push({ operation, index })
  }

  /** The values that must be written to memory: results, and what a later stage reads, or reads whole. */
  storedValues(results: readonly Value[]): Set<Value> {
    const stored = new Set(results.filter(({ producer }) => producer !== null))
    for (const { operation, index } of this.#placed) {
      for (const input of operation.inputs)
        if (this.stageOf.has(input) && this.stageOf.get(input) !== index) stored.add(input)
    }
    return stored
  }

  /** The first stage that an operation can be in; one past the last where it needs a new one. */
  #placeOf(operation: Operation, blockStart: number): number {
    const { batch, rows } = domainOf(operation)
    const attends = operation.kind === 'attend'
    let first = blockStart
    for (const input of operation.inputs) {
      const made = this.stageOf.get(input)
      if (made !== undefined)
        first = Math.max(first, inRegister(input, operation) && this.stages[made]?.alone === null ? made : made + 1)
    }
    if (isAlone(operation)) return this.stages.length
    const place = this.stages.findIndex(
      (stage, index) =>
        index >= first &&
        stage.alone === null &&
        stage.batch === batch &&
        stage.rows === rows &&
        (!attends || stage.attend === null),
    )
    return place < 0 ? this.stages.length : place
  }
}

/** B and M of the rows that an operation works on. */
function domainOf({ inputs, outputs, kind }: Operation): Value {
  return (kind === 'append' || outputs.length === 0 ? inputs[0] : outputs[0]) as Value
}

/** Whether an operation is a stage of its own. */
function isAlone({ kind }: Operation): boolean {
  return kind === 'attend-backward' || kind === 'sum-table'
}

/** Whether an operation can read a value in the stage that makes it. */
function inRegister(value: Value, operation: Operation): boolean {
  if (operation.kind === 'attend' || isAlone(operation)) return false
  if (isKind(value.producer, 'attend')) return value === value.producer.outputs[0]
  if (isSum(operation)) return true
  const { inRegisters } = ruleOf(operation)
  return inRegisters === undefined || inRegisters.includes(operation.inputs.indexOf(value))
}

function finish(stage: OpenStage, made: (value: Value) => boolean, stored: (value: Value) => boolean): Stage {
  const { alone, batch, rows } = stage
  if (alone === null) return new RowStageBuilder(stage satisfies PlacedOperations, made, stored).build()
  const writes = alone.outputs.map((output) => ({ from: output, to: output, shifts: [0] }))
  if (isKind(alone, 'sum-table')) {
    const { gradient } = alone.attributes
    return {
      kind: 'table',
      batch,
      rows,
      reads: alone.inputs,
      writes: [{ from: gradient, to: gradient, shifts: [0] }],
      operation: alone,
    }
  }
  return {
    kind: 'attention-backward',
    batch,
    rows,
    reads: alone.inputs,
    writes,
    operation: alone as Operation<'attend-backward'>,
  }
}
