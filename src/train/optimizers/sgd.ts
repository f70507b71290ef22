import { checkBoolean, checkNames, expected } from '../../core/check.ts'
import { OptionError } from '../../core/errors.ts'
import { checkRate } from '../schedules.ts'
import { Optimizer, type UpdateArrays, type UpdateLoop } from './optimizer.ts'
import type { ParameterGroup, Trainable } from './parameter-groups.ts'

/** What decides about an update of `SGD`. */
export interface SGDHyperparameters {
  /** lr: what gradients are multiplied by */
  readonly learningRate: number
  /** @default 0 */
  readonly momentum: number
  /** Looks ahead along the momentum (Sutskever et al. 2013). @default false */
  readonly nesterov: boolean
  /** λ of an L2 penalty: λ·p is added to the gradient. @default 0 */
  readonly weightDecay: number
}

/** What `SGD` takes. */
export interface SGDOptions extends Partial<SGDHyperparameters> {
  /** lr: what gradients are multiplied by */
  readonly learningRate: number
  /**
   * Parameters with hyperparameters of their own; the first group that matches a parameter has it. @default none
   */
  readonly groups?: readonly ParameterGroup<SGDHyperparameters>[]
}

/**
 * Stochastic gradient descent: b ← momentum·b + (g + λ·p), then p ← p − rate·b, or with `nesterov`
 * p ← p − rate·(g + λ·p + momentum·b). The same updates as PyTorch's `SGD` with dampening 0.
 *
 * @example
 * ```js
 * import { tensor } from 'heddle'
 * import { Linear } from 'heddle/nn'
 * import { SGD } from 'heddle/train'
 *
 * const model = new Linear(4, 2, { seed: 1 })
 * const optimizer = new SGD(model, { learningRate: 0.1, momentum: 0.9, nesterov: true })
 * await optimizer.step(new Map([['bias', tensor(Float32Array.of(1, -1), [2])]]))
 * console.log(model.bias.data[0].toFixed(2)) // -0.19
 * ```
 */
export class SGD extends Optimizer<SGDHyperparameters> {
  /**
   * @param parameters a module, or parameters by name
   * @throws {OptionError} for unknown names and wrong values
   */
  constructor(parameters: Trainable, options: SGDOptions) {
    options = checkNames('SGD: options', options, ['learningRate', 'momentum', 'nesterov', 'weightDecay', 'groups'])
    const { learningRate, momentum = 0, nesterov = false, weightDecay = 0, groups } = options
    super('SGD', parameters, { base: { learningRate, momentum, nesterov, weightDecay }, groups, check })
  }

  protected override momentsOf({ momentum }: SGDHyperparameters): readonly string[] {
    return momentum === 0 ? [] : ['momentum']
  }

  protected override updateLoop(
    { parameter, gradient, moments, newParameter, newMoments }: UpdateArrays,
    hyperparameters: SGDHyperparameters,
    rate: number,
  ): UpdateLoop {
    const { momentum: factor, nesterov, weightDecay } = hyperparameters
    // Without momentum there is no array of it: the slope itself goes into the new parameter's place first.
    const momentum = moments['momentum'] ?? gradient
    const newMomentum = newMoments['momentum'] ?? newParameter
    return (start, end) => {
      let guard = 0
      for (let index = start; index < end; index++) {
        const value = parameter[index] ?? 0
        const slope = (gradient[index] ?? 0) + weightDecay * value
        const velocity = factor * (momentum[index] ?? 0) + slope
        newMomentum[index] = velocity
        newParameter[index] = value - rate * (nesterov ? slope + factor * velocity : velocity)
        guard += (newParameter[index] ?? 0) * 0
      }
      return guard
    }
  }
}

function check(
  named: (name: string) => string,
  { learningRate, momentum, nesterov, weightDecay }: SGDHyperparameters,
): void {
  checkRate(named('learningRate'), learningRate)
  if (typeof momentum !== 'number' || !(momentum >= 0 && momentum < 1))
    throw expected(named('momentum'), 'a number from 0, below 1', momentum)
  checkBoolean(named('nesterov'), nesterov)
  if (nesterov && momentum === 0)
    throw new OptionError(`${named('nesterov')}: expected a momentum above 0 with it, got 0`)
  checkRate(named('weightDecay'), weightDecay)
}
