import { OptionError } from '../core/errors.ts'
import type { Tensor } from '../core/tensor.ts'
import type { Parameter } from '../program/parameter.ts'
import { assignState, type LoadOptions, type LoadReport } from './state/state-dict.ts'

/** Parameters by their PyTorch names. */
export type StateDict = Record<string, Tensor>

/**
 * A layer or a model: named parameters and named parts, whose names join with dots as in PyTorch. A module starts in
 * evaluation mode; `train()` switches dropout on.
 */
export abstract class Module {
  #training = false
  readonly #parameters = new Map<string, Parameter>()
  readonly #children: { readonly name: string; readonly module: Module }[] = []

  get training(): boolean {
    return this.#training
  }

  /** Switches this module and its parts to training mode (dropout is active), or back. */
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
      for (const [inner, parameter] of module.namedParameters()) named.set(name === '' ? inner : `${name}.${inner}`, parameter)
    }
    return named
  }

  parameters(): Parameter[] {
    return [...new Set(this.namedParameters().values())]
  }

  /** How many numbers are learned: the elements of all parameters. */
  numParameters(): number {
    return this.parameters().reduce((sum, parameter) => sum + parameter.data.length, 0)
  }

  /** The parameters under PyTorch's names. The tensors share memory with the module. */
  stateDict(): StateDict {
    return Object.fromEntries(this.namedParameters())
  }

  /**
   * Takes over the values of a state dict; the values are copied, and nothing changes unless all of it fits.
   *
   * @throws {FormatError} that lists every missing, unexpected and misshapen name
   * @throws {ShapeError} that lists every misshapen one, when no name is missing or unexpected
   * @throws {NumericError} that names every parameter which holds NaN or an infinity
   */
  loadStateDict(state: Readonly<Record<string, Tensor>>, options: LoadOptions = {}): LoadReport {
    return assignState(this.namedParameters(), state, options)
  }

  /** The parts and their names, one level down. */
  protected get parts(): readonly { readonly name: string; readonly module: Module }[] {
    return this.#children
  }

  protected addParameter(name: string, parameter: Parameter): Parameter {
    if (this.#parameters.has(name)) throw new OptionError(`module: expected parameter names to differ, got ${name} twice`)
    this.#parameters.set(name, parameter)
    return parameter
  }

  /** @param name '' puts the part's parameters beside this module's own */
  protected addModule<M extends Module>(name: string, module: M): M {
    this.#children.push({ name, module })
    return module
  }
}
