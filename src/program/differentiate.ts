import type { Graph } from './graph.ts'
import { isKind, type Operation, type Value } from './operation.ts'
import { attendAdjoint } from './operations/attend-backward.ts'
import { add, asRows } from './operations/elementwise.ts'
import { parametersOf, ruleOf } from './operations/rules.ts'
import type { Parameter } from './parameter.ts'
import type { Tape } from './tape.ts'

/** What gradients are taken of, and with respect to what. */
export interface Wanted {
  /** gradients of outputs, by output */
  readonly seeds: ReadonlyMap<Value, Value>
  /** losses: gradients start there by themselves */
  readonly losses: readonly Value[]
  readonly inputs: readonly Value[]
  readonly parameters: ReadonlySet<Parameter>
  /** whether a value inside a block is kept from the forward pass; else it is computed again */
  readonly keeps: (value: Value) => boolean
}

/** The values that hold gradients. */
export interface Gradients {
  readonly inputs: ReadonlyMap<Value, Value>
  readonly parameters: ReadonlyMap<Parameter, Value>
}

/**
 * Adds to a graph what computes gradients: walks its operations backwards and calls their adjoints, which add
 * operations of the same kinds. Only paths to wanted values are followed. A value inside a block is computed again
 * where it is needed, unless it is kept (Chen et al. 2016): what lives through the whole pass is each block's input,
 * attention's output and its log-sum-exp. The insides of the last block are still there when its gradients begin.
 */
export function differentiate(graph: Graph, wanted: Wanted): Gradients {
  const tape = new GradientTape(graph, wanted)
  for (const operation of tape.forward.toReversed()) tape.visit(operation)
  const inputs = wanted.inputs.flatMap((input) => {
    const gradient = tape.gradients.get(input)
    return gradient === undefined ? [] : [[input, asRows(graph, gradient)] as const]
  })
  return { inputs: new Map(inputs), parameters: tape.parameters }
}

class GradientTape implements Tape {
  readonly forward: readonly Operation[]
  readonly gradients: Map<Value, Value>
  readonly parameters = new Map<Parameter, Value>()
  readonly #needed: ReadonlySet<Value>
  /** index of the first operation whose results are still in registers or memory when gradients begin */
  readonly #liveFrom: number
  readonly #indexOf: ReadonlyMap<Operation, number>
  /** the block of the forward pass whose gradients are being added */
  #region: number
  /** values computed again in this part of the block, and in the whole block */
  #part = new Map<Value, Value>()
  #block = new Map<Value, Value>()

  constructor(
    readonly graph: Graph,
    private readonly wanted: Wanted,
  ) {
    this.forward = [...graph.operations]
    this.gradients = new Map(wanted.seeds)
    this.#needed = neededValues(this.forward, wanted)
    this.#indexOf = new Map(this.forward.map((operation, index) => [operation, index]))
    this.#liveFrom = Math.max(
      0,
      this.forward.findLastIndex(({ kind }) => kind === 'attend'),
    )
    this.#region = this.forward.at(-1)?.region ?? 0
    graph.forwardOperations = graph.operations.length
    graph.startBlock(true)
  }

  /** Adds the adjoint of one operation of the forward pass. */
  visit(operation: Operation): void {
    const [output] = operation.outputs
    if (output === undefined || !this.#needed.has(output)) return
    const dOutput = this.gradients.get(output)
    const isLoss = this.wanted.losses.includes(output)
    if (dOutput === undefined && !isLoss) return
    this.#enter(operation)
    const gradients = isKind(operation, 'attend')
      ? attendAdjoint(operation, dOutput as Value, this)
      : ruleOf(operation).adjoint(operation, dOutput as Value, this)
    if (isKind(operation, 'attend')) this.#startPart()
    gradients.forEach((gradient, index) => {
      const input = operation.inputs[index] as Value
      if (gradient !== null && this.#needed.has(input)) this.#accumulate(input, gradient)
    })
  }

  readonly recall = (value: Value): Value => {
    const { producer } = value
    if (producer === null || this.#isKept(value, producer)) return value
    const known = this.#part.get(value) ?? (isCheap(producer) ? undefined : this.#block.get(value))
    if (known !== undefined) return known
    const { kind, attributes } = producer
    const inputs = producer.inputs.map((input) => this.recall(input))
    const results = producer.outputs.map(({ name, batch, rows, width, layout, heads, capacity, integers }) => ({
      name,
      sizes: { batch, rows, width },
      storage: { layout, heads, capacity, integers },
    }))
    const clones = this.graph.addWith(kind, inputs, attributes, results)
    producer.outputs.forEach((output, index) => {
      this.#part.set(output, clones[index] as Value)
      this.#block.set(output, clones[index] as Value)
    })
    return this.#part.get(value) as Value
  }

  readonly needs = (value: Value): boolean => this.#needed.has(value)

  readonly gradientOf = (parameter: Parameter): Value | null => {
    if (!this.wanted.parameters.has(parameter)) return null
    const known = this.parameters.get(parameter)
    if (known !== undefined) return known
    const [rows = 1, width = 1] = parameter.shape
    const gradient = this.graph.input('gradients', { batch: 1, rows, width }, null, { layout: 'parameter' })
    this.parameters.set(parameter, gradient)
    return gradient
  }

  /** What follows is a part of its own: values that are cheap to compute are computed again in it. */
  #startPart(): void {
    this.graph.startBlock()
    this.#part = new Map()
  }

  /** Gradients of another block begin in a stage of their own. */
  #enter({ region }: Operation): void {
    if (region === this.#region) return
    this.#region = region
    this.#startPart()
    this.#block = new Map()
  }

  /** Attention's results, what passes between blocks, and what is alive when gradients begin stay as they are. */
  #isKept(value: Value, producer: Operation): boolean {
    if (producer.kind === 'attend' || producer.region !== this.#region || this.wanted.keeps(value)) return true
    const index = this.#indexOf.get(producer) ?? 0
    return (
      index >= this.#liveFrom ||
      (isKind(this.forward[this.#liveFrom] ?? null, 'attend') &&
        (this.forward[this.#liveFrom] as Operation).inputs.includes(value))
    )
  }

  #accumulate(value: Value, gradient: Value): void {
    const before = this.gradients.get(value)
    this.gradients.set(value, before === undefined ? gradient : add(this.graph, before, gradient))
  }
}

/** Nothing is saved by keeping it. */
function isCheap(operation: Operation): boolean {
  return (ruleOf(operation).flopsPerRow?.(operation) ?? 0) === 0
}

/** The values on a path from something wanted. */
function neededValues(operations: readonly Operation[], { inputs, parameters }: Wanted): Set<Value> {
  const needed = new Set(inputs)
  for (const operation of operations) {
    if (
      operation.inputs.some((input) => needed.has(input)) ||
      parametersOf(operation).some((parameter) => parameters.has(parameter))
    ) {
      for (const output of operation.outputs) needed.add(output)
    }
  }
  return needed
}
