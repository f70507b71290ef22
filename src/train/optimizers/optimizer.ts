import type { Runtime } from '../../attention/runtime.ts'
import { checkedSignal, checkFinite, checkNames, expected } from '../../core/check.ts'
import type { ElementWork } from '../../core/element-loops.ts'
import { NumericError, OptionError, ShapeError } from '../../core/errors.ts'
import { formatShape, type Tensor } from '../../core/tensor.ts'
import { checkRuntime } from '../../program/host.ts'
import { changeParameters, readParameters } from '../../program/parameter-access.ts'
import type { Parameter } from '../../program/parameter.ts'
import { sameShape } from '../batch.ts'
import { LANES_PAY, runElements, type ElementReport } from '../elements/run-elements.ts'
import { checkGradients, nonFiniteGradient, type Gradients } from '../gradients.ts'
import { checkRate } from '../schedules.ts'
import { OptimizerMemory, type ComputedUpdate, type UpdateArrays } from './optimizer-memory.ts'
import type { OptimizerState } from './optimizer-state.ts'
import {
  distinctParameters,
  resolveGroups,
  type HyperparameterCheck,
  type ParameterGroup,
  type ResolvedGroup,
  type Trainable,
} from './parameter-groups.ts'

/** Sums of updates only tell whether all is finite, so any size gives the same bits: one that tasks can be made of. */
const BLOCK_ELEMENTS = 2 ** 17

/** What `step` of an optimizer takes. */
export interface StepOptions {
  /** In place of each group's own rate: one for all, or made out of a group's own. */
  readonly learningRate?: number | ((base: number) => number)
  /** Each gradient is multiplied by this first, and rounded to float32: the factor of `clipFactor`, say. @default 1 */
  readonly gradientScale?: number
  /**
   * Whose lanes compute the new values where the model is large enough for that to pay, and they share memory with this
   * thread; the bits are the same. @default none: the calling thread does
   */
  readonly runtime?: Runtime
  /** An abort before the new values are in place leaves the parameters and the optimizer as they were. */
  readonly signal?: AbortSignal
}

/** What the numbers of an update are made of, beside the hyperparameters. */
export interface UpdateNumbers {
  readonly rate: number
  /** updates of the parameter, this one included */
  readonly steps: number
  readonly gradientScale: number
}

interface Update extends ComputedUpdate {
  readonly work: ElementWork
}

/** Options of a step after all checks. */
interface StepSettings {
  /** by group */
  readonly rates: ReadonlyMap<unknown, number>
  readonly gradientScale: number
  readonly runtime: Runtime | undefined
  readonly signal: AbortSignal | undefined
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
  readonly #memory: OptimizerMemory
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
    this.#memory = new OptimizerMemory(name, this.parameters)
  }

  /** The learning rate of parameters that are in no group of their own. */
  get learningRate(): number {
    return this.groups.at(-1)?.hyperparameters.learningRate ?? 0
  }

  /**
   * One update of every parameter that has a gradient.
   *
   * @param gradients by the parameters' names, of their shapes; they must stay as they are until the promise settles.
   *   Lanes read those in shared memory where they are, and the others from a copy
   * @param options see `StepOptions`
   * @returns where the new values were computed
   * @throws {OptionError} for an unknown name, a rate or a scale that is no finite number ≥ 0, or a call during another
   * @throws {ShapeError} when a gradient does not have its parameter's shape
   * @throws {NumericError} that names the first parameter whose gradient, or new value, is NaN or infinite
   * @throws {WorkerLostError} when workers died three times under one part of it; then nothing has changed
   */
  async step(gradients: Gradients, options: StepOptions = {}): Promise<ElementReport> {
    const what = `${this.name}: step`
    const settings = this.#settings(what, options)
    if (this.#stepping) throw new OptionError(`${what}: expected the earlier step to end first`)
    const updates = this.#prepare(what, gradients, settings)
    this.#stepping = true
    try {
      const parameters = updates.map(({ parameter }) => parameter)
      const report = await readParameters(parameters, () => this.#compute(what, updates, settings))
      // A lane that was lost may still write what it had begun: into memory that nobody reads any more.
      const isClean = report.retries === 0
      const computed = isClean ? updates : this.#memory.copied(updates)
      // A forward pass that other code has begun reads the old values to its end.
      await changeParameters(parameters, () => this.#memory.commit(computed))
      return report
    } catch (error) {
      this.#memory.drop(updates)
      throw error
    } finally {
      this.#stepping = false
    }
  }

  /** Copies of everything that the optimizer remembers; parameters that were never updated are left out. */
  stateDict(): OptimizerState {
    return this.#memory.write()
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
    this.#memory.read(what, (name) => this.momentsOf(this.#group(name).hyperparameters), state)
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

  /** The loop that updates a parameter: its arrays in the loop's order, and its numbers. */
  protected abstract updateWork(arrays: UpdateArrays, hyperparameters: H, numbers: UpdateNumbers): ElementWork

  #settings(what: string, options: StepOptions): StepSettings {
    options = checkNames(`${what}: options`, options, ['learningRate', 'gradientScale', 'runtime', 'signal'])
    const { learningRate, gradientScale = 1, runtime } = options
    const signal = checkedSignal(`${what}: option signal`, options.signal)
    checkFinite(`${what}: option gradientScale`, gradientScale)
    if (gradientScale < 0) throw expected(`${what}: option gradientScale`, 'a number ≥ 0', gradientScale)
    checkRuntime(`${what}: option runtime`, runtime)
    const rates = new Map(
      this.groups.map((group) => [group, rateOf(what, learningRate, group.hyperparameters.learningRate)]),
    )
    return { rates, gradientScale, runtime, signal }
  }

  #group(name: string): ResolvedGroup<H> {
    const group = this.#groupOf.get(name)
    if (group === undefined)
      throw new OptionError(`${this.name}: expected a parameter of this optimizer, got ${JSON.stringify(name)}`)
    return group
  }

  #prepare(what: string, gradients: Gradients, settings: StepSettings): Update[] {
    checkGradients(what, gradients)
    const unknown = [...gradients.keys()].filter((name) => !this.parameters.has(name))
    if (unknown.length > 0)
      throw new OptionError(`${what}: expected gradients of this optimizer's parameters, got ${unknown.join(', ')}`)
    const given = [...this.parameters].flatMap(([name, parameter]) => {
      const gradient = gradients.get(name)
      if (gradient !== undefined) checkGradientShape(what, name, parameter, gradient)
      return gradient === undefined ? [] : [{ name, parameter, gradient: gradient.data }]
    })
    return given.map(({ name, parameter, gradient }) => {
      const group = this.#group(name)
      const { hyperparameters } = group
      const { arrays, steps: before } = this.#memory.open(name, gradient, this.momentsOf(hyperparameters))
      const steps = before + 1
      const numbers = { rate: settings.rates.get(group) ?? 0, steps, gradientScale: settings.gradientScale }
      return { name, parameter, arrays, steps, work: this.updateWork(arrays, hyperparameters, numbers) }
    })
  }

  async #compute(what: string, updates: readonly Update[], settings: StepSettings): Promise<ElementReport> {
    const { runtime, signal } = settings
    const works = updates.map(({ work }) => work)
    const options = { blockElements: BLOCK_ELEMENTS, lanesPay: LANES_PAY.update, runtime, signal }
    const { sums, report } = await runElements(works, options)
    if (sums.every((sum) => sum === 0)) return report
    throw nonFiniteUpdate(what, updates)
  }
}

function checkGradientShape(what: string, name: string, { shape, data }: Parameter, gradient: Tensor): void {
  if (sameShape(gradient.shape, shape) && gradient.data.length === data.length) return
  throw new ShapeError(
    `${what}: expected the gradient of ${name} to have shape ${formatShape(shape)}, got ${formatShape(gradient.shape)}`,
  )
}

/** The error of the first parameter whose gradient, or else whose update, is not finite. */
function nonFiniteUpdate(what: string, updates: readonly Update[]): NumericError {
  for (const { name, parameter, arrays } of updates) {
    const ofGradient = nonFiniteGradient(what, name, { data: arrays.gradient, shape: parameter.shape })
    if (ofGradient !== undefined) return ofGradient
    const computed = [arrays.newParameter, ...Object.values(arrays.newMoments)]
    if (computed.some((data) => data.some((value) => !Number.isFinite(value))))
      return new NumericError(`${what}: expected ${name} to stay finite, but the update leads beyond float32`, {
        details: { parameter: name },
      })
  }
  return new NumericError(`${what}: expected gradients that stay as they are until the step ends, but they changed`)
}

function rateOf(what: string, given: StepOptions['learningRate'], own: number): number {
  if (given !== undefined && typeof given !== 'number' && typeof given !== 'function')
    throw expected(`${what}: option learningRate`, 'a number or a function of the group’s own rate', given)
  const rate: unknown = typeof given === 'function' ? given(own) : (given ?? own)
  checkRate(`${what}: learning rate`, rate)
  return rate
}
