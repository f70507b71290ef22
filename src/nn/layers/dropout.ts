import { checkInteger, expected } from '../../core/check.ts'
import type { Register } from '../../protocol/stage.ts'
import type { StageBuilder } from '../stage/stage-builder.ts'
import { RowLayer, type RowContext } from './row-layer.ts'

/** In training mode each element is 0 with the given probability, else times 1/(1 − probability); in evaluation mode nothing. */
export class Dropout extends RowLayer {
  readonly label = 'Dropout'
  readonly outputDim: number

  /** @throws {OptionError} unless the probability is from 0 to 1 */
  constructor(
    readonly inputDim: number,
    readonly probability: number,
  ) {
    super()
    checkInteger('Dropout: size', inputDim, 1)
    checkProbability('Dropout: probability', probability)
    this.outputDim = inputDim
  }

  override get drops(): boolean {
    return this.training && this.probability > 0
  }

  override apply(builder: StageBuilder, from: Register, context: RowContext): Register {
    // The site is counted whether or not anything is dropped, so that it does not depend on other layers' modes.
    const site = context.nextSite()
    if (this.drops && context.seed !== null) builder.drop(from, { probability: this.probability, seed: context.seed, site })
    return from
  }
}

export function checkProbability(what: string, value: unknown): asserts value is number {
  if (typeof value !== 'number' || !(value >= 0 && value <= 1)) throw expected(what, 'a number from 0 to 1', value)
}
