import { defaultRuntime } from '../attention/default-runtime.ts'
import type { Runtime } from '../attention/runtime.ts'
import { OptionError } from '../core/errors.ts'
import { checkShape, readTensor, type Tensor, type TensorData } from '../core/tensor.ts'
import { ofBatch } from '../plan/attention-sizes.ts'
import { Graph, type GraphOptions } from '../program/graph.ts'
import type { Value } from '../program/operation.ts'
import type { Parameter } from '../program/parameter.ts'
import type { LayerPlan } from '../program/plan.ts'
import type { LayerReport } from '../program/run.ts'
import {
  checkForward,
  dropoutSeed,
  outputShape,
  readRows,
  rowsOfShape,
  type ForwardOptions,
  type LayerResult,
} from './forward-options.ts'
import { appendRows, checkCaches, type KeyValueCache } from './key-value-cache.ts'
import {
  runBackward,
  wantedParameters,
  type BackwardOptions,
  type BackwardResult,
  type BackwardRun,
  type BuiltForward,
} from './run-backward.ts'
import { planForward, runForward } from './run-forward.ts'
import { runTraced, type TracedAttention } from './trace-attention.ts'
import { assignState, type GivenState, type LoadOptions, type LoadReport } from './state/state-dict.ts'

/** Parameters by their PyTorch names. */
export type StateDict = Record<string, Tensor>

/** A cache that a call writes to, and the sizes of the layer that it belongs to. */
export interface CacheUse {
  readonly cache: KeyValueCache
  readonly keyValueHeads: number
  readonly headSize: number
}

/** B and M of an input. */
export type RowSizes = Pick<Value, 'batch' | 'rows'>

/** What a forward pass gave. */
export interface ForwardRun {
  readonly output: Tensor
  /** data of the values that `build` exposed, by name */
  readonly exposed: ReadonlyMap<string, TensorData>
  readonly report: LayerReport
}

/**
 * A layer or a model: named parameters and named parts, whose names join with dots as in PyTorch. A module starts in
 * evaluation mode; `train()` switches dropout on.
 *
 * Your own layer registers its parameters with `addParameter` and its parts with `addModule`, and says in `build` what
 * it computes. Everything else follows from that.
 *
 * @example
 * ```js
 * import { tensor } from 'heddle'
 * import { activate, add, Linear, Module } from 'heddle/nn'
 *
 * // y = x + tanh(x·Wᵀ + b)
 * class Adapter extends Module {
 *   inputDim = 64
 *   inner = this.addModule('inner', new Linear(64, 64, { seed: 1 }))
 *
 *   build(graph, input) {
 *     return add(graph, input, activate(graph, this.inner.build(graph, input), 'tanh'))
 *   }
 * }
 *
 * const adapter = new Adapter()
 * const x = tensor(Float32Array.from({ length: 10 * 64 }, (_, i) => Math.sin(i)), [10, 64])
 * const { output } = await adapter.forward(x)
 * const { gradients } = await adapter.backward(x, output)
 * console.log(output.shape, [...gradients.keys()]) // [ 10, 64 ] [ 'inner.weight', 'inner.bias' ]
 * ```
 */
export abstract class Module<Input extends TensorData = Float32Array, Options extends ForwardOptions = ForwardOptions> {
  #training = false
  readonly #parameters = new Map<string, Parameter>()
  readonly #children: { readonly name: string; readonly module: AnyModule }[] = []

  /** Its name in messages and traces. */
  get label(): string {
    return this.constructor.name
  }

  /** Elements per row of the input. */
  abstract readonly inputDim: number

  /**
   * Adds what the layer computes to a graph.
   *
   * @param graph the graph that is built
   * @param input [batch, rows, inputDim]
   * @param options what the layer's `forward` takes beside `ForwardOptions`, without what concerns the call alone
   * @returns the output's value
   * @throws {ShapeError} {OptionError} where something does not fit
   */
  abstract build(graph: Graph, input: Value, options?: Options): Value

  /**
   * The layer over every row of `input`.
   *
   * @param input [B, M, inputDim] or [M, inputDim]; neither changed nor kept
   * @returns output of the input's shape with the layer's own last size, and as many rows as `build` makes; the
   *   caller's, in shared memory if the input was
   * @throws {ShapeError} {OptionError} before anything is allocated; else as `runtime.attention`
   */
  async forward(input: Tensor<Input>, options?: Options): Promise<LayerResult> {
    const { output, report } = await this.run(input, options)
    return { output, report }
  }

  /**
   * The vector–Jacobian product of `forward`: the gradients of Σ dOutput ∘ output with respect to the input and to
   * every parameter. The forward pass is computed again on the way; memory is linear in the number of rows.
   *
   * @param input as for `forward`
   * @param dOutput of the output's shape
   * @param options those of the forward pass; in training mode the same seed
   * @returns dInput of the input's shape (none for tokens), gradients by the names of `namedParameters()`; all the
   *   caller's
   * @throws {ShapeError} {OptionError} before anything is allocated
   * @throws {MemoryBudgetError} when nothing fits the budget; says which one would do
   */
  async backward(
    input: Tensor<Input>,
    dOutput: Tensor,
    options: Options & BackwardOptions = {} as Options,
  ): Promise<BackwardResult> {
    const {
      inputs: [dInput],
      gradients,
      report,
    } = await this.runBackward(input, dOutput, options)
    return { ...(dInput === undefined ? {} : { dInput }), gradients, report }
  }

  /**
   * What `forward` would do and hold for an input of this shape.
   *
   * @param runtime whose lanes and budget count
   * @param shape of the input
   * @throws {MemoryBudgetError} when nothing fits the budget
   */
  plan(
    runtime: Runtime,
    shape: readonly number[],
    options: Omit<Options, keyof ForwardOptions> = {} as Options,
  ): LayerPlan {
    checkShape(`${this.label}: input`, shape)
    const graph = this.newGraph()
    const value = this.valueOf(graph, 'input', shape, null)
    return planForward(graph, this.build(graph, value, options as Options), runtime)
  }

  /** Whether it is in training mode, where dropout is active. */
  get training(): boolean {
    return this.#training
  }

  /** Whether a forward pass drops anything now. */
  get drops(): boolean {
    return this.#children.some(({ module }) => module.drops)
  }

  /**
   * Switches this module and its parts to training mode (dropout is active), or back.
   *
   * @param training false switches to evaluation mode
   */
  train(training = true): this {
    this.#training = training
    for (const { module } of this.#children) module.train(training)
    return this
  }

  /** Switches to evaluation mode: dropout does nothing. */
  eval(): this {
    return this.train(false)
  }

  /** Every parameter once, its own first, then those of the parts in their order. */
  namedParameters(): Map<string, Parameter> {
    const named = new Map(this.#parameters)
    for (const { name, module } of this.#children) {
      for (const [inner, parameter] of module.namedParameters())
        named.set(name === '' ? inner : `${name}.${inner}`, parameter)
    }
    return named
  }

  /** Every parameter once, in the order of `namedParameters`. */
  parameters(): Parameter[] {
    return [...new Set(this.namedParameters().values())]
  }

  /** How many numbers are learned: the elements of all parameters. */
  numParameters(): number {
    return this.parameters().reduce((sum, parameter) => sum + parameter.elements, 0)
  }

  /** The parameters under PyTorch's names. The tensors share memory with the module. */
  stateDict(): StateDict {
    return Object.fromEntries(this.namedParameters())
  }

  /**
   * Takes over the values of a state dict; the values are copied, and nothing changes unless all of it fits. Integers
   * that are no parameters are skipped, and listed in what comes back.
   *
   * @param state tensors by the names of parameters; see `readStateDict`
   * @throws {FormatError} that lists every missing, unexpected and misshapen name
   * @throws {ShapeError} that lists every misshapen one, when no name is missing or unexpected
   * @throws {NumericError} that names every parameter which holds NaN or an infinity
   */
  loadStateDict(state: GivenState, options: LoadOptions = {}): LoadReport {
    return assignState(this.namedParameters(), state, options)
  }

  /** The parts and their names, one level down. */
  protected get parts(): readonly {
    /** the part's name, as in the names of its parameters */
    readonly name: string
    /** the part itself */
    readonly module: AnyModule
  }[] {
    return this.#children
  }

  /**
   * Registers a parameter of this module.
   *
   * @param name the parameter's name in the state dict
   * @param parameter the parameter
   * @returns the parameter.
   * @throws {OptionError} when the name is taken
   */
  protected addParameter(name: string, parameter: Parameter): Parameter {
    if (this.#parameters.has(name))
      throw new OptionError(`module: expected parameter names to differ, got ${name} twice`)
    this.#parameters.set(name, parameter)
    return parameter
  }

  /**
   * Registers a part, whose parameters are then found under its name.
   *
   * @param name '' puts the part's parameters beside this module's own
   * @param module the part
   * @returns the part
   */
  protected addModule<M extends AnyModule>(name: string, module: M): M {
    this.#children.push({ name, module })
    return module
  }

  /** @internal A graph whose first operations are this module's. */
  newGraph(options: GraphOptions = {}): Graph {
    return new Graph({ scope: this.scope, ...options })
  }

  /**
   * @internal The input as a graph's first value. @throws {OptionError} {ShapeError} unless `input` is a tensor that
   * the layer takes
   */
  inputValue(graph: Graph, input: Tensor<Input>): Value {
    const { shape, data } = this.readInput(`${this.label}: input`, input)
    return this.valueOf(graph, 'input', shape, data)
  }

  /** @internal Whether `forward` takes an option of this name beside those of `ForwardOptions`. */
  takesOption(name: string): boolean {
    return this.optionNames.includes(name)
  }

  /** The path under which its operations stand where it is the model itself. */
  protected get scope(): string {
    return this.label
  }

  /** The names of its options beside those of `ForwardOptions`. */
  protected get optionNames(): readonly string[] {
    return []
  }

  /**
   * The input as a value of a graph.
   *
   * @param graph the graph that is built
   * @param name the value's purpose, for messages
   * @param shape of the input
   * @param data null where only the size is known
   * @throws {ShapeError} unless the shape fits the layer
   */
  protected valueOf(graph: Graph, name: string, shape: readonly number[], data: Input | null): Value {
    return graph.input(
      name,
      { ...rowsOfShape(`${this.label}: ${name}`, shape, this.inputDim), width: this.inputDim },
      data,
    )
  }

  /**
   * Its data and shape, each read once.
   *
   * @param what the input's name, for messages
   * @param input what the caller gave
   * @throws {OptionError} {ShapeError} unless `input` is a tensor that the layer takes
   */
  protected readInput(what: string, input: unknown): Tensor<Input> {
    return readRows(what, input, this.inputDim) as unknown as Tensor<Input>
  }

  /**
   * How many of each sequence's rows stay in the caches. @throws {OptionError} where options say otherwise than the
   * input allows
   */
  protected rowCounts(_options: Options, { batch, rows }: RowSizes): readonly number[] {
    return new Array<number>(batch).fill(rows)
  }

  /** The caches that a call writes to. */
  protected cachesOf(_options: Options): readonly CacheUse[] {
    return []
  }

  /** @internal Gradients, also of the inputs that `build` brings in under these names. */
  protected async runBackward(
    input: Tensor<Input>,
    dOutput: Tensor,
    options: Options & BackwardOptions,
    names: readonly string[] = [],
  ): Promise<BackwardRun> {
    const { only, ...others } = options
    const forward = checkForward(this.label, others as unknown as Options, this.optionNames)
    const given = this.readInput(`${this.label}: input`, input)
    const gradient = readTensor(`${this.label}: dOutput`, Float32Array, dOutput)
    const caches = this.cachesOf(forward).length
    if (caches > 0) throw new OptionError(`${this.label}: expected no cache in backward, got ${caches}`)
    const seed = dropoutSeed(this.label, this.drops, forward.seed)
    const build = (): BuiltForward => this.#build(given, forward, { seed, forGradients: true })
    const parameters = wantedParameters(this.label, this.namedParameters(), only)
    const runtime = forward.runtime ?? (await defaultRuntime())
    return runBackward(
      { label: this.label, build, input: given, dOutput: gradient, names, parameters },
      runtime,
      forward,
    )
  }

  /** @internal A forward pass, with the values that `build` exposed. */
  async run(
    given: Tensor<Input>,
    givenOptions: Options = {} as Options,
    others: readonly Tensor<TensorData>[] = [],
  ): Promise<ForwardRun> {
    const options = checkForward(this.label, givenOptions, this.optionNames)
    const input = this.readInput(`${this.label}: input`, given)
    const seed = dropoutSeed(this.label, this.drops, options.seed)
    const uses = this.cachesOf(options)
    const caches = uses.map(({ cache }) => cache)
    checkCaches(`${this.label}: cache`, caches)
    const { batch, rows } = this.valueOf(this.newGraph(), 'input', input.shape, null)
    const counts = this.rowCounts(options, { batch, rows })
    for (const { cache, keyValueHeads, headSize } of uses)
      cache.checkRoom(this.label, batch, keyValueHeads, headSize, rows)
    const built = this.#build(input, options, { seed, position: caches[0]?.upcomingLengths ?? 0, forGradients: false })
    const run = async (): Promise<ForwardRun> => {
      const position = Array.from(caches[0]?.lengths ?? [0])
      // An earlier call on the cache failed: this one is further ahead than was thought.
      const { graph, output } = position.every((each, b) => each === ofBatch(built.graph.positions, b))
        ? built
        : this.#build(input, options, { seed, position, forGradients: false })
      const { data, report } = await runForward(graph, output, options.runtime ?? (await defaultRuntime()), options, [
        input,
        ...others,
      ])
      const [first, ...exposed] = data
      const names = [...graph.exposed.keys()]
      return {
        output: { data: first as Float32Array, shape: outputShape(input.shape, built.input, output) },
        exposed: new Map(exposed.map((array, index) => [names[index] ?? '', array])),
        report,
      }
    }
    return caches.length === 0 ? run() : appendRows(caches, counts, options.signal, run)
  }

  /** @internal Queries and keys of every attention of a forward pass in evaluation mode. */
  async traceAttention(given: Tensor<Input>, givenOptions: Options = {} as Options): Promise<TracedAttention[]> {
    const options = checkForward(this.label, givenOptions, this.optionNames)
    const input = this.readInput(`${this.label}: input`, given)
    if (this.cachesOf(options).length > 0)
      throw new OptionError(`${this.label}: expected no cache where attention is traced, got one`)
    const { graph } = this.#build(input, options, { forGradients: false })
    return runTraced(graph, options.runtime ?? (await defaultRuntime()), options)
  }

  #build(input: Tensor<Input>, options: Options, graphOptions: GraphOptions): BuiltForward {
    const graph = this.newGraph(graphOptions)
    const value = this.valueOf(graph, 'input', input.shape, input.data)
    const output = this.build(graph, value, options)
    if (graph.watched.length === 0 && !value.integers) graph.watch(this.label, value, output)
    return { graph, input: value, output }
  }
}

/** A module of any input and options. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- a part may take any input and options
export type AnyModule = Module<any, any>
