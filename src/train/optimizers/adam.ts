import { checkNames, expected } from '../../core/check.ts'
import type { ElementWork } from '../../core/element-loops.ts'
import { integerPower } from '../../core/integer-power.ts'
import { checkRate } from '../schedules.ts'
import { Optimizer, type UpdateNumbers } from './optimizer.ts'
import type { UpdateArrays } from './optimizer-memory.ts'
import type { ParameterGroup, Trainable } from './parameter-groups.ts'

/** What decides about an update of `Adam` and `AdamW`. */
export interface AdamHyperparameters {
  /** @default 0.001 */
  readonly learningRate: number
  /** β₁ and β₂: how slowly the means of gradients and of their squares forget. @default [0.9, 0.999] */
  readonly betas: readonly [number, number]
  /** @default 1e-8 */
  readonly epsilon: number
  /** λ. @default 0 for Adam, 0.01 for AdamW */
  readonly weightDecay: number
}

/** What `Adam` and `AdamW` take. */
export interface AdamOptions extends Partial<AdamHyperparameters> {
  /**
   * Parameters with hyperparameters of their own; the first group that matches a parameter has it. @default none
   */
  readonly groups?: readonly ParameterGroup<AdamHyperparameters>[]
}

const NAMES = ['learningRate', 'betas', 'epsilon', 'weightDecay', 'groups']

/** The moments' names in a state dict. */
const FIRST = 'firstMoment'
const SECOND = 'secondMoment'

/**
 * Adam (Kingma and Ba 2015): m ← β₁·m + (1 − β₁)·g, v ← β₂·v + (1 − β₂)·g²,
 * p ← p − rate·(m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε), where the gradient g includes λ·p. The same updates as
 * PyTorch's.
 *
 * @example
 * ```js
 * import { Linear } from 'heddle/nn'
 * import { Adam } from 'heddle/train'
 *
 * const optimizer = new Adam(new Linear(4, 2), { learningRate: 1e-3, betas: [0.9, 0.98], epsilon: 1e-9 })
 * console.log(optimizer.describe().optimizer) // Adam
 * ```
 */
export class Adam extends Optimizer<AdamHyperparameters> {
  /**
   * @param parameters a module, or parameters by name
   * @throws {OptionError} for unknown names and wrong values
   */
  constructor(parameters: Trainable, options: AdamOptions = {}) {
    super('Adam', parameters, { ...resolved('Adam', options, 0), check })
  }

  protected override momentsOf(): readonly string[] {
    return [FIRST, SECOND]
  }

  protected override updateWork(
    arrays: UpdateArrays,
    hyperparameters: AdamHyperparameters,
    numbers: UpdateNumbers,
  ): ElementWork {
    return adamWork(arrays, hyperparameters, { ...numbers, penalty: hyperparameters.weightDecay, shrink: 1 })
  }
}

/**
 * Adam with decoupled weight decay (Loshchilov and Hutter 2019): p shrinks by the factor 1 − rate·λ before the update,
 * and the gradient is left alone. The same updates as PyTorch's.
 *
 * @example
 * ```js
 * import { tensor } from 'heddle'
 * import { Linear } from 'heddle/nn'
 * import { AdamW } from 'heddle/train'
 *
 * const model = new Linear(4, 2, { seed: 1 })
 * const groups = [{ match: (name) => name.endsWith('bias'), weightDecay: 0 }]
 * const optimizer = new AdamW(model, { learningRate: 1e-3, weightDecay: 0.1, groups })
 * await optimizer.step(new Map([['bias', tensor(Float32Array.of(1, -1), [2])]]))
 * console.log(model.bias.data[0].toFixed(4)) // -0.0010
 * ```
 */
export class AdamW extends Optimizer<AdamHyperparameters> {
  /**
   * @param parameters a module, or parameters by name
   * @throws {OptionError} for unknown names and wrong values
   */
  constructor(parameters: Trainable, options: AdamOptions = {}) {
    super('AdamW', parameters, { ...resolved('AdamW', options, 0.01), check })
  }

  protected override momentsOf(): readonly string[] {
    return [FIRST, SECOND]
  }

  protected override updateWork(
    arrays: UpdateArrays,
    hyperparameters: AdamHyperparameters,
    numbers: UpdateNumbers,
  ): ElementWork {
    const shrink = 1 - numbers.rate * hyperparameters.weightDecay
    return adamWork(arrays, hyperparameters, { ...numbers, penalty: 0, shrink })
  }
}

interface AdamNumbers extends UpdateNumbers {
  /** λ·p is added to the gradient */
  readonly penalty: number
  /** p is multiplied by this first */
  readonly shrink: number
}

function adamWork(
  { parameter, gradient, moments, newParameter, newMoments }: UpdateArrays,
  { betas: [beta1, beta2], epsilon }: AdamHyperparameters,
  { rate, steps, gradientScale, penalty, shrink }: AdamNumbers,
): ElementWork {
  const [first, second] = [moments[FIRST] ?? gradient, moments[SECOND] ?? gradient]
  const [newFirst, newSecond] = [newMoments[FIRST] ?? newParameter, newMoments[SECOND] ?? newParameter]
  const stepSize = rate / (1 - integerPower(beta1, steps))
  const correction = Math.sqrt(1 - integerPower(beta2, steps))
  return {
    loop: 'adam',
    arrays: [parameter, gradient, first, second, newParameter, newFirst, newSecond],
    numbers: [gradientScale, beta1, beta2, epsilon, stepSize, correction, penalty, shrink],
  }
}

function resolved(
  what: string,
  options: AdamOptions,
  decay: number,
): { readonly base: AdamHyperparameters; readonly groups: AdamOptions['groups'] } {
  options = checkNames(`${what}: options`, options, NAMES)
  const { learningRate = 1e-3, betas = [0.9, 0.999], epsilon = 1e-8, weightDecay = decay, groups } = options
  return { base: { learningRate, betas, epsilon, weightDecay }, groups }
}

function check(
  named: (name: string) => string,
  { learningRate, betas, epsilon, weightDecay }: AdamHyperparameters,
): void {
  checkRate(named('learningRate'), learningRate)
  const list: unknown = betas
  const isShare = (beta: unknown): boolean => typeof beta === 'number' && beta >= 0 && beta < 1
  if (!Array.isArray(list) || list.length !== 2 || !list.every(isShare))
    throw expected(named('betas'), 'two numbers from 0, below 1', list)
  checkRate(named('epsilon'), epsilon)
  checkRate(named('weightDecay'), weightDecay)
}
