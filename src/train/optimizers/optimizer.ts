import { checkedSignal, checkNames, expected } from '../../core/check.ts'
import { NumericError, OptionError, ShapeError } from '../../core/errors.ts'
import { allocate } from '../../core/ledger.ts'
import { formatShape } from '../../core/tensor.ts'
import { changeParameters } from '../../program/parameter-access.ts'
import type { Parameter } from '../../program/parameter.ts'
import { sameShape } from '../batch.ts'
import { checkGradients, nonFiniteGradient, type Gradients } from '../gradients.ts'
import { PacedLoop } from '../paced-loop.ts'
import { checkRate } from '../schedules.ts'
import { readState, writeState, type OptimizerState, type ParameterState } from './optimizer-state.ts'
import {
  distinctParameters,
  resolveGroups,
  type HyperparameterCheck,
  type ParameterGroup,
  type ResolvedGroup,
  type Trainable,
} from './parameter-groups.ts'

/** What `step` of an optimizer takes. */
export interface StepOptions {
  /** In place of each group's own rate: one for all, or made out of a group's own. */
  readonly learningRate?: number | ((base: number) => number)
  /** An abort before the new values are in place leaves the parameters and the optimizer as they were. */
  readonly signal?: AbortSignal
}

/** The arrays of one parameter's update: old values, gradient, and where the new values go. */
export interface UpdateArrays {
  readonly parameter: Float32Array
  readonly gradient: Float32Array
  readonly moments: Readonly<Record<string, Float32Array>>
  readonly newParameter: Float32Array
  readonly newMoments: Readonly<Record<string, Float32Array>>
}

/**
 * Computes elements [start, end).
 *
 * @returns 0 when everything written is finite, else NaN
 */
export type UpdateLoop = (start: number, end: number) => number

interface Update {
  readonly name: string
  readonly parameter: Parameter
  readonly arrays: UpdateArrays
  readonly loop: UpdateLoop
  readonly steps: number
}

/** What the hyperparameters of every optimizer have. */
interface Rated {
  readonly learningRate: number
}

/** How an optimizer is described in a checkpoint, so that a resumed run can tell whether it goes on in the same way. */
export interface OptimizerDescription {
  /** the optimizer's name, such as `AdamW` */
  readonly optimizer: string
  /** hyperparameters of each group, with the names of its `parameters` */
  readonly groups: readonly object[]
}

/**
 * Updates parameters out of gradients. New values are computed beside the old ones and put in place together, on the
 * calling thread, at the end of `step`: an error or an abort leaves everything as it was. Memory beside the parameters:
 * twice the moments, and the parameters once more.
 */
export abstract class Optimizer<H extends Rated = Rated> {
  /** by name, each once */
  readonly parameters: ReadonlyMap<string, Parameter>
  /** those of the options, and a last one for all other parameters */
  readonly groups: readonly ResolvedGroup<H>[]
  readonly #groupOf: ReadonlyMap<string, ResolvedGroup<H>>
  #states = new Map<string, ParameterState>()
  /** Arrays to compute into; they change places with those of `#states`. */
  readonly #spares = new Map<string, Pick<UpdateArrays, 'newParameter' | 'newMoments'>>()
  #stepping = false

  protected constructor(
    /** as checkpoints and messages call it */
    readonly name: string,
    trainable: Trainable,
    options: {
      /** hyperparameters of all parameters that no group changes */
      readonly base: H
      /** as the options give them */
      readonly groups: readonly ParameterGroup<H>[] | undefined
      /** throws an `OptionError` for wrong values */
      readonly check: HyperparameterCheck<H>
    },
  ) {
    this.parameters = distinctParameters(`${name}: parameters`, trainable)
    this.groups = resolveGroups(name, this.parameters, options)
    this.#groupOf = new Map(this.groups.flatMap((group) => group.names.map((parameter) => [parameter, group])))
  }

  /** The learning rate of parameters that are in no group of their own. */
  get learningRate(): number {
    return this.groups.at(-1)?.hyperparameters.learningRate ?? 0
  }

  /**
   * One update of every parameter that has a gradient.
   *
   * @param gradients by the parameters' names, of their shapes; they must stay as they are until the promise settles
   * @param options see `StepOptions`
   * @throws {OptionError} for an unknown name, a rate that is no finite number ≥ 0, or a call during another
   * @throws {ShapeError} when a gradient does not have its parameter's shape
   * @throws {NumericError} that names the first parameter whose gradient, or new value, is NaN or infinite
   */
  async step(gradients: Gradients, options: StepOptions = {}): Promise<void> {
    const what = `${this.name}: step`
    options = checkNames(`${what}: options`, options, ['learningRate', 'signal'])
    const signal = checkedSignal(`${what}: option signal`, options.signal)
    if (this.#stepping) throw new OptionError(`${what}: expected the earlier step to end first`)
    const updates = this.#prepare(what, gradients, options.learningRate)
    this.#stepping = true
    try {
      const loop = new PacedLoop(signal)
      for (const update of updates) await this.#compute(what, update, loop)
      // A forward pass that other code has begun reads the old values to its end.
      await changeParameters(
        updates.map(({ parameter }) => parameter),
        () => this.#commit(updates),
      )
    } finally {
      this.#stepping = false
    }
  }

  /** Copies of everything that the optimizer remembers; parameters that were never updated are left out. */
  stateDict(): OptimizerState {
    return writeState(this.parameters, this.#states)
  }

  /**
   * Takes over what `stateDict` gave; the values are copied, and nothing changes unless all of it fits.
   *
   * @param state what `stateDict` gave
   * @throws {FormatError} that lists every missing and unexpected name
   * @throws {ShapeError} {OptionError} {NumericError} for tensors of another shape or type, or that are not finite
   */
  loadStateDict(state: Readonly<OptimizerState>): void {
    const what = `${this.name}: loadStateDict`
    if (this.#stepping) throw new OptionError(`${what}: expected the step to end first`)
    this.#states = readState(what, this.parameters, (name) => this.momentsOf(this.#group(name).hyperparameters), state)
  }

  /** The hyperparameters of each group and its parameters, as plain data. */
  describe(): OptimizerDescription {
    return {
      optimizer: this.name,
      groups: this.groups.map(({ hyperparameters, names }) => ({ ...hyperparameters, parameters: names })),
    }
  }

  /** Which moments a parameter with these hyperparameters has. */
  protected abstract momentsOf(hyperparameters: H): readonly string[]

  /**
   * The loop that computes new values of one parameter and of its moments.
   *
   * @param steps updates of the parameter, this one included
   */
  protected abstract updateLoop(arrays: UpdateArrays, hyperparameters: H, rate: number, steps: number): UpdateLoop

  #group(name: string): ResolvedGroup<H> {
    const group = this.#groupOf.get(name)
    if (group === undefined)
      throw new OptionError(`${this.name}: expected a parameter of this optimizer, got ${JSON.stringify(name)}`)
    return group
  }

  #prepare(what: string, gradients: Gradients, learningRate: StepOptions['learningRate']): Update[] {
    checkGradients(what, gradients)
    const rates = new Map(
      this.groups.map((group) => [group, rateOf(what, learningRate, group.hyperparameters.learningRate)]),
    )
    const unknown = [...gradients.keys()].filter((name) => !this.parameters.has(name))
    if (unknown.length > 0)
      throw new OptionError(`${what}: expected gradients of this optimizer's parameters, got ${unknown.join(', ')}`)
    const given = [...this.parameters].filter(([name]) => gradients.has(name))
    for (const [name, { shape }] of given) {
      const gradient = gradients.get(name)
      if (
        gradient === undefined ||
        !sameShape(gradient.shape, shape) ||
        gradient.data.length !== this.parameters.get(name)?.data.length
      ) {
        throw new ShapeError(
          `${what}: expected the gradient of ${name} to have shape ${formatShape(shape)}, got ${formatShape(gradient?.shape ?? [])}`,
        )
      }
    }
    return given.map(([name, parameter]) =>
      this.#update(
        name,
        parameter,
        gradients.get(name)?.data ?? new Float32Array(0),
        rates.get(this.#group(name)) ?? 0,
      ),
    )
  }

  #update(name: string, parameter: Parameter, gradient: Float32Array, rate: number): Update {
    const { hyperparameters } = this.#group(name)
    const zeros = (): Record<string, Float32Array> =>
      Object.fromEntries(this.momentsOf(hyperparameters).map((moment) => [moment, this.#array(parameter.data.length)]))
    const state = this.#states.get(name) ?? { steps: 0, moments: zeros() }
    const spare = this.#spares.get(name) ?? { newParameter: this.#array(parameter.data.length), newMoments: zeros() }
    this.#spares.set(name, spare)
    const arrays = { parameter: parameter.data, gradient, moments: state.moments, ...spare }
    const steps = state.steps + 1
    return { name, parameter, arrays, steps, loop: this.updateLoop(arrays, hyperparameters, rate, steps) }
  }

  #array(length: number): Float32Array {
    return new Float32Array(allocate(`${this.name} state`, 4 * length, false))
  }

  async #compute(what: string, { name, parameter, arrays, loop }: Update, paced: PacedLoop): Promise<void> {
    let sum = 0
    await paced.run(arrays.gradient.length, (start, end) => (sum += loop(start, end)))
    if (sum === 0) return
    throw (
      nonFiniteGradient(what, name, { data: arrays.gradient, shape: parameter.shape }) ??
      new NumericError(`${what}: expected ${name} to stay finite, but the update leads beyond float32`, {
        details: { parameter: name },
      })
    )
  }

  /** Everything at once: nobody sees some parameters of one step and some of another. */
  #commit(updates: readonly Update[]): void {
    for (const { name, parameter, arrays, steps } of updates) {
      parameter.data.set(arrays.newParameter)
      parameter.touch()
      this.#states.set(name, { steps, moments: arrays.newMoments })
      this.#spares.set(name, { newParameter: arrays.newParameter, newMoments: arrays.moments })
    }
  }
}

function rateOf(what: string, given: StepOptions['learningRate'], own: number): number {
  if (given !== undefined && typeof given !== 'number' && typeof given !== 'function')
    throw expected(`${what}: option learningRate`, 'a number or a function of the group’s own rate', given)
  const rate: unknown = typeof given === 'function' ? given(own) : (given ?? own)
  checkRate(`${what}: learning rate`, rate)
  return rate
}
