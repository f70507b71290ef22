import { checkInteger, checkNames, expected } from '../core/check.ts'
import { exactCos } from '../core/sine.ts'

/**
 * The learning rate of a step.
 *
 * @param step updates that were made before: 0 for the first
 * @param base a parameter group's own learning rate
 */
export type Schedule = (step: number, base: number) => number

/** How a schedule falls. */
export interface DecayOptions {
  /** updates until the rate has reached `minimum`; it stays there */
  readonly steps: number
  /** updates over which the rate rises evenly to the base; they count among `steps`. @default 0 */
  readonly warmup?: number
  /** @default 0 */
  readonly minimum?: number
}

/**
 * minimum + (base − minimum)·(1 + cos(π·t)) / 2 with t = (step − warmup) / (steps − warmup). Without warm-up the same
 * as PyTorch's `CosineAnnealingLR` with T_max = steps. Loshchilov and Hutter 2017, eq. 5.
 *
 * @throws {OptionError} for unknown names and wrong values
 *
 * @example
 * ```js
 * import { cosineAnnealing } from 'heddle/train'
 *
 * const rate = cosineAnnealing({ steps: 1000, minimum: 1e-5 })
 * console.log(rate(0, 1e-3), rate(1000, 1e-3)) // 0.001 0.00001
 * ```
 */
export function cosineAnnealing(options: DecayOptions): Schedule {
  return decay('cosineAnnealing', options, (share) => (1 + exactCos(Math.PI * share)) / 2)
}

/**
 * minimum + (base − minimum)·(1 − t) with t = (step − warmup) / (steps − warmup).
 *
 * @throws {OptionError} for unknown names and wrong values
 *
 * @example
 * ```js
 * import { linear } from 'heddle/train'
 *
 * const rate = linear({ steps: 1000 })
 * console.log(rate(0, 1e-3), rate(500, 1e-3)) // 0.001 0.0005
 * ```
 */
export function linear(options: DecayOptions): Schedule {
  return decay('linear', options, (share) => 1 - share)
}

/** Always the base. */
export function constant(): Schedule {
  return (_, base) => base
}

function decay(what: string, options: DecayOptions, curve: (share: number) => number): Schedule {
  options = checkNames(`${what}: options`, options, ['steps', 'warmup', 'minimum'])
  const { steps, warmup = 0, minimum = 0 } = options
  checkInteger(`${what}: option steps`, steps, 1)
  checkInteger(`${what}: option warmup`, warmup, 0, steps - 1)
  checkRate(`${what}: option minimum`, minimum)
  return (step, base) => {
    if (step < warmup) return (base * (step + 1)) / (warmup + 1)
    if (step >= steps) return minimum
    return minimum + (base - minimum) * curve((step - warmup) / (steps - warmup))
  }
}

/** @throws {OptionError} unless `rate` is a finite number ≥ 0 */
export function checkRate(what: string, rate: unknown): asserts rate is number {
  if (typeof rate !== 'number' || !(rate >= 0 && rate < Infinity)) throw expected(what, 'a finite number ≥ 0', rate)
}
