import type { Graph } from './graph.ts'
import { isKind, type Operation, type Value, type WeightView } from './operation.ts'
import { ruleOf } from './operations/rules.ts'
import type { Parameter } from './parameter.ts'
import { assignRegisters, type RegisterUse } from './registers.ts'

/** A value that a stage writes to memory. */
export interface StoredValue {
  /** what stands in a register */
  readonly from: Value
  /** where it goes: itself, or a cache that it is added to */
  readonly to: Value
  /** rows of `to` before those of `from`: what a cache holds already */
  readonly shift: number
}

/** What a stage does to a tile of rows, one after the other. */
export type StageItem =
  | { readonly kind: 'load'; readonly value: Value }
  | { readonly kind: 'operation'; readonly operation: Operation }
  | { readonly kind: 'store'; readonly stored: StoredValue }

/**
 * Row-wise operations over the same rows, and attention of these rows before them: what a lane does to a chunk without
 * going back to the scheduler.
 */
export interface Stage extends RegisterUse {
  /** B and M: the rows that it is cut into */
  readonly batch: number
  readonly rows: number
  readonly attend: Operation<'attend'> | null
  readonly items: readonly StageItem[]
  /** values in memory that it reads: by rows, or whole as attention does */
  readonly reads: readonly Value[]
  readonly writes: readonly StoredValue[]
  readonly weights: readonly WeightView[]
  /** parameters whose rows are looked up */
  readonly tables: readonly Parameter[]
  /** multiply-adds count as two; attention is not in it */
  readonly flopsPerRow: number
}

/** A graph cut into stages, which run in order. */
export interface Program {
  readonly graph: Graph
  readonly stages: readonly Stage[]
  /** the values that are handed to the caller */
  readonly results: readonly Value[]
  /** the stage that is the last to write a value which it needs, by value: what a trace waits for */
  readonly stageOf: ReadonlyMap<Value, number>
}

interface OpenStage {
  readonly batch: number
  readonly rows: number
  attend: Operation<'attend'> | null
  readonly operations: Operation[]
}

/**
 * Cuts a graph into stages: each operation goes into the first stage that has its rows and comes after its inputs. A cut is
 * only where an operation must see all rows: attention reads its query, key and value from memory, which an earlier stage
 * has written.
 *
 * @param results values that must be in memory at the end, or when their stage is done
 */
export function partition(graph: Graph, results: readonly Value[], kept: readonly Value[] = []): Program {
  const stages: OpenStage[] = []
  const stageOf = new Map<Value, number>()
  const firstOf = new Map([[0, 0]]) // the first stage that a block may use
  for (const operation of graph.operations) {
    const first = firstOf.get(operation.region) ?? stages.length
    firstOf.set(operation.region, first)
    const index = placeOf(operation, stages, stageOf, first)
    const stage = (stages[index] ??= { batch: domainOf(operation).batch, rows: domainOf(operation).rows, attend: null, operations: [] })
    if (isKind(operation, 'attend')) stage.attend = operation
    else stage.operations.push(operation)
    for (const output of operation.outputs) stageOf.set(output, index)
  }
  const stored = storedValues(graph, stageOf, [...results, ...kept])
  return { graph, results, stageOf, stages: stages.map((stage, index) => finish(stage, index, stageOf, stored)) }
}

/** B and M of the rows that an operation works on. */
function domainOf({ inputs, outputs, kind }: Operation): Value {
  return (kind === 'append' ? inputs[0] : outputs[0]) as Value
}

/** The first stage that an operation can be in; one past the last where it needs a new one. */
function placeOf(operation: Operation, stages: readonly OpenStage[], stageOf: ReadonlyMap<Value, number>, blockStart: number): number {
  const { batch, rows } = domainOf(operation)
  const attends = operation.kind === 'attend'
  let first = blockStart
  for (const input of operation.inputs) {
    const made = stageOf.get(input)
    if (made !== undefined) first = Math.max(first, attends || !inRegister(input, operation) ? made + 1 : made)
  }
  const place = stages.findIndex((stage, index) => index >= first && stage.batch === batch && stage.rows === rows && (!attends || stage.attend === null))
  return place < 0 ? stages.length : place
}

/** Whether an operation can read a value in the stage that makes it. */
function inRegister(value: Value, operation: Operation): boolean {
  if (isKind(value.producer, 'attend')) return value === value.producer.outputs[0]
  const { inRegisters } = ruleOf(operation)
  return inRegisters === undefined || inRegisters.includes(operation.inputs.indexOf(value))
}

/** The values that must be written to memory: results, and what a later stage reads. */
function storedValues(graph: Graph, stageOf: ReadonlyMap<Value, number>, results: readonly Value[]): Set<Value> {
  const stored = new Set(results.filter(({ producer }) => producer !== null))
  for (const operation of graph.operations) {
    const index = stageOf.get(operation.outputs[0] as Value) ?? 0
    for (const input of operation.inputs) if (stageOf.has(input) && stageOf.get(input) !== index) stored.add(input)
  }
  return stored
}

function finish({ batch, rows, attend, operations }: OpenStage, index: number, stageOf: ReadonlyMap<Value, number>, stored: ReadonlySet<Value>): Stage {
  const items: StageItem[] = []
  const reads = new Set<Value>(attend?.inputs ?? [])
  const loaded = new Set<Value>()
  const writes: StoredValue[] = []
  const store = (each: StoredValue): void => {
    items.push({ kind: 'store', stored: each })
    writes.push(each)
  }
  const need = (value: Value): void => {
    if (loaded.has(value) || (stageOf.get(value) === index && value.producer !== attend)) return
    loaded.add(value)
    items.push({ kind: 'load', value })
    if (value.producer !== attend || attend === null) reads.add(value)
  }
  for (const result of attend?.outputs.slice(1) ?? []) writes.push({ from: result, to: result, shift: 0 })
  const context = attend?.outputs[0]
  if (context !== undefined && stored.has(context)) {
    need(context)
    store({ from: context, to: context, shift: 0 })
  }
  for (const operation of operations) {
    const inRegisters = ruleOf(operation).inRegisters
    operation.inputs.forEach((input, place) => {
      if (inRegisters === undefined || inRegisters.includes(place)) need(input)
      else if (!isKind(operation, 'append')) reads.add(input)
    })
    const [output] = operation.outputs as [Value]
    if (isKind(operation, 'append')) {
      store({ from: operation.inputs[0] as Value, to: output, shift: operation.attributes.past })
      continue
    }
    items.push({ kind: 'operation', operation })
    if (stored.has(output)) store({ from: output, to: output, shift: 0 })
  }
  const rules = operations.map((operation) => ({ operation, rule: ruleOf(operation) }))
  return {
    batch,
    rows,
    attend,
    items,
    reads: [...reads],
    writes,
    weights: rules.flatMap(({ operation, rule }) => rule.weights?.(operation) ?? []),
    tables: rules.flatMap(({ operation, rule }) => rule.tables?.(operation) ?? []),
    flopsPerRow: rules.reduce((sum, { operation, rule }) => sum + (rule.flopsPerRow?.(operation) ?? 0), 0),
    ...assignRegisters(items),
  }
}
