import { checkBoolean, checkNames, expected } from '../../core/check.ts'
import type { ElementWork } from '../../core/element-loops.ts'
import { OptionError } from '../../core/errors.ts'
import { checkRate } from '../schedules.ts'
import { Optimizer, type UpdateNumbers } from './optimizer.ts'
import type { UpdateArrays } from './optimizer-memory.ts'
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

  protected override updateWork(
    { parameter, gradient, moments, newParameter, newMoments }: UpdateArrays,
    { momentum, nesterov, weightDecay }: SGDHyperparameters,
    { rate, gradientScale }: UpdateNumbers,
  ): ElementWork {
    // Without momentum there is no array of it: the slope itself goes into the new parameter's place first.
    const velocity = moments['momentum'] ?? gradient
    const newVelocity = newMoments['momentum'] ?? newParameter
    const [ofSlope, ofMomentum] = nesterov ? [1, momentum] : [0, 1]
    return {
      loop: 'sgd',
      arrays: [parameter, gradient, velocity, newParameter, newVelocity],
      numbers: [gradientScale, rate, momentum, weightDecay, ofSlope, ofMomentum],
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
