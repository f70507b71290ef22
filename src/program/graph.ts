import { ShapeError } from '../core/errors.ts'
import type { SeedWords } from '../core/philox.ts'
import { deriveSeed } from '../core/seed.ts'
import { formatShape } from '../core/tensor.ts'
import type { TaskArray } from '../protocol/task.ts'
import type { Operation, OperationKind, OperationTypes, Value } from './operation.ts'

/** A tensor on its way, for traces: `linear1` [B, M, 2048]. */
export interface TraceMark {
  /** the path of the layer that made it */
  readonly layer: string
  readonly step: string
  readonly shape: readonly number[]
  readonly value: Value
}

/** A layer whose input and output can be compared. */
export interface WatchedLayer {
  readonly layer: string
  readonly input: Value
  readonly output: Value
}

type Sizes = Pick<Value, 'batch' | 'rows' | 'width'>
type Storage = Partial<Pick<Value, 'layout' | 'heads' | 'capacity' | 'integers' | 'slots'>>

/** Where a layer's dropouts get their numbers from. */
interface SeedScope {
  readonly seed: SeedWords | null
  site: number
}

/** What a `Graph` takes. */
export interface GraphOptions {
  /** the path of the layer that is built first */
  readonly scope?: string
  /** of dropout; null where none is active */
  readonly seed?: SeedWords | null
  /** one entry per sequence, or a single entry for all of them. @default 0 */
  readonly position?: number | readonly number[]
  /** Whether gradients will be taken: attention then keeps its log-sum-exp. @default false */
  readonly forGradients?: boolean
}

/**
 * The operations of a forward pass, in order, as layers add them. A layer's `build` finds here what is the same for the
 * whole pass: the seed of its dropouts and the path of the layer.
 */
export class Graph {
  /** in the order in which they run */
  readonly operations: Operation[] = []
  /** tensors that a trace tells of, in order */
  readonly marks: TraceMark[] = []
  /** layers whose norms can be compared */
  readonly watched: WatchedLayer[] = []
  /** values that the caller gets beside the output, by name */
  readonly exposed = new Map<string, Value>()
  /** data of the values that callers and layers bring */
  readonly bindings = new Map<Value, TaskArray>()
  #values = 0
  #regions = 0
  #region = 0
  #scope: string
  #seed: SeedScope

  /** Whether gradients will be taken: attention then keeps its log-sum-exp. */
  readonly forGradients: boolean
  /** how many operations the forward pass has, once gradients were added; else null */
  forwardOperations: number | null = null
  /** blocks whose first operations may share the stage before them */
  readonly joining = new Set<number>()
  /**
   * Position of each sequence's first row: what caches hold already. One entry per sequence where they differ, else one
   * for all.
   */
  readonly positions: readonly number[]

  constructor({ scope = '', seed = null, position = 0, forGradients = false }: GraphOptions = {}) {
    this.forGradients = forGradients
    this.#scope = scope
    this.#seed = { seed, site: 0 }
    const positions = typeof position === 'number' ? [position] : position
    this.positions = new Set(positions).size > 1 ? positions : positions.slice(0, 1)
  }

  /** The largest of `positions`. */
  get position(): number {
    return this.positions.reduce((largest, each) => Math.max(largest, each), 0)
  }

  /** Whether sequences start at different positions. */
  get isRagged(): boolean {
    return this.positions.length > 1
  }

  /** The path of the layer that is being built. */
  get scope(): string {
    return this.#scope
  }

  /** The seed of the part that is being built; null where no dropout is active. */
  get seed(): SeedWords | null {
    return this.#seed.seed
  }

  /** Tells the dropouts of one seed apart: counts up from 1. */
  nextSite(): number {
    return ++this.#seed.site
  }

  /**
   * Builds the part `name` of the layer that is being built.
   *
   * @param name of the part, as in the names of its parameters
   * @param build builds the part
   */
  within<T>(name: string, build: () => T): T {
    const before = this.#scope
    this.#scope = before === '' ? name : `${before}.${name}`
    const built = build()
    this.#scope = before
    return built
  }

  /**
   * Builds a block of a model: what gradients compute again as a whole. Its operations share no stage with what came
   * before.
   *
   * @param build builds the block
   */
  block<T>(build: () => T): T {
    const before = this.#region
    this.startBlock()
    const built = build()
    this.#region = before
    return built
  }

  /**
   * From here on operations belong to a new block. @param joins whether its first ones may share the stage before them
   */
  startBlock(joins = false): void {
    this.#region = ++this.#regions
    if (joins) this.joining.add(this.#region)
  }

  /**
   * Builds part `index` of a layer: it draws numbers of its own.
   *
   * @param index of the part in the layer
   * @param build builds the part
   */
  seeded<T>(index: number, build: () => T): T {
    const before = this.#seed
    this.#seed = { seed: before.seed === null ? null : deriveSeed(before.seed, index), site: 0 }
    const built = build()
    this.#seed = before
    return built
  }

  /**
   * A value that is brought in: [batch, rows, width], or as its `layout` says.
   *
   * @param name the value's purpose, for messages
   * @param sizes batch, rows and width
   * @param data null where only its size is known
   * @param storage how its memory is laid out, where not as rows of floats
   */
  input(name: string, sizes: Sizes, data: TaskArray | null, storage: Storage = {}): Value {
    const value = this.#value(name, sizes, null, storage)
    if (data !== null) this.bindings.set(value, data)
    return value
  }

  /**
   * Adds an operation with one result of these sizes, stored the ordinary way.
   *
   * @param kind which operation
   * @param inputs the values that it reads
   * @param attributes what else decides about its result
   * @param name the result's purpose, for messages
   * @param sizes the result's batch, rows and width
   */
  add<K extends OperationKind>(
    kind: K,
    inputs: readonly Value[],
    attributes: OperationTypes[K],
    name: string,
    sizes: Sizes,
  ): Value {
    return this.addWith(kind, inputs, attributes, [{ name, sizes }])[0] as Value
  }

  /**
   * Adds an operation with several results, or with one that is stored in another way.
   *
   * @param kind which operation
   * @param inputs the values that it reads
   * @param attributes what else decides about its results
   * @param results the values that it makes
   */
  addWith<K extends OperationKind>(
    kind: K,
    inputs: readonly Value[],
    attributes: OperationTypes[K],
    results: readonly {
      /** the value's purpose, for messages */
      readonly name: string
      /** its batch, rows and width */
      readonly sizes: Sizes
      /** how its memory is laid out, where not as rows of floats */
      readonly storage?: Storage
    }[],
  ): readonly Value[] {
    const outputs: Value[] = []
    const operation: Operation<K> = { kind, inputs, outputs, attributes, scope: this.#scope, region: this.#region }
    for (const { name, sizes, storage = {} } of results) outputs.push(this.#value(name, sizes, operation, storage))
    this.operations.push(operation)
    return outputs
  }

  /**
   * Says that a tensor was made, for those who trace the pass.
   *
   * @param step what was computed, such as `logits`
   * @param value the tensor
   * @param shape as callers see it
   */
  trace(step: string, value: Value, shape: readonly number[] = [value.batch, value.rows, value.width]): void {
    this.marks.push({ layer: this.#scope, step, shape, value })
  }

  /**
   * Hands a value to the caller beside the output.
   *
   * @param name by which the caller finds it
   * @param value the tensor
   */
  expose(name: string, value: Value): void {
    this.exposed.set(name, value)
  }

  /**
   * Says which value goes into a layer and which comes out, for those who compare them.
   *
   * @param layer the layer's path
   * @param input what goes into it
   * @param output what comes out of it
   */
  watch(layer: string, input: Value, output: Value): void {
    this.watched.push({ layer, input, output })
  }

  #value(name: string, { batch, rows, width }: Sizes, producer: Operation | null, storage: Storage): Value {
    return {
      id: this.#values++,
      name,
      batch,
      rows,
      width,
      producer,
      layout: 'rows',
      heads: 1,
      capacity: rows,
      integers: false,
      slots: 1,
      ...storage,
    }
  }
}

/** @throws {ShapeError} unless the value's rows have `width` elements */
export function checkWidth(graph: Graph, what: string, { batch, rows, width }: Value, expected: number): void {
  if (width === expected) return
  throw new ShapeError(
    `${graph.scope}: expected ${what} of shape ${formatShape([batch, rows, expected])}, got ${formatShape([batch, rows, width])}`,
  )
}

/** @throws {ShapeError} unless both values have the same shape */
export function checkSameShape(graph: Graph, what: string, a: Value, b: Value): void {
  if (a.batch === b.batch && a.rows === b.rows && a.width === b.width) return
  throw new ShapeError(
    `${graph.scope}: expected ${what} of one shape, got ${formatShape([a.batch, a.rows, a.width])} and ${formatShape([b.batch, b.rows, b.width])}`,
  )
}
