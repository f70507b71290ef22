import { checkBoolean, checkInteger, checkNames, checkOneOf } from '../../core/check.ts'
import type { Register } from '../../protocol/stage.ts'
import { initialise, WEIGHT_INITIALISATIONS, type WeightInitialisation } from '../initialisers.ts'
import { Parameter } from '../../program/parameter.ts'
import type { Seed } from '../../core/seed.ts'
import { wholeWeight, type WeightPart } from '../stage/stage-binder.ts'
import type { StageBuilder } from '../stage/stage-builder.ts'
import { RowLayer } from './row-layer.ts'

export interface LinearOptions {
  /** @default true */
  readonly bias?: boolean
  /** The bias starts as zeros. @default 'xavier-uniform' */
  readonly initialisation?: WeightInitialisation
  /** @default 0 */
  readonly seed?: Seed
}

/** y = x·Wᵀ + b, W [outputDim, inputDim]. Parameters: `weight`, `bias`. */
export class Linear extends RowLayer {
  readonly label = 'Linear'
  readonly weight: Parameter
  readonly bias: Parameter | null

  /** @throws {OptionError} unless both sizes are integers ≥ 1, for unknown names and wrong values */
  constructor(
    readonly inputDim: number,
    readonly outputDim: number,
    options: LinearOptions = {},
  ) {
    super()
    checkInteger('Linear: inputDim', inputDim, 1)
    checkInteger('Linear: outputDim', outputDim, 1)
    checkNames('Linear: options', options, ['bias', 'initialisation', 'seed'])
    const { bias = true, initialisation = 'xavier-uniform', seed = 0 } = options
    checkBoolean('Linear: option bias', bias)
    checkOneOf('Linear: option initialisation', initialisation, WEIGHT_INITIALISATIONS)
    this.weight = this.addParameter('weight', new Parameter([outputDim, inputDim]))
    this.bias = bias ? this.addParameter('bias', new Parameter([outputDim])) : null
    initialise(this.weight, initialisation, seed)
  }

  /** The parameters as a stage uses them. */
  get weightPart(): WeightPart {
    return wholeWeight(this.weight)
  }

  get biasPart(): WeightPart | null {
    return this.bias === null ? null : wholeWeight(this.bias)
  }

  override apply(builder: StageBuilder, from: Register): Register {
    const to = builder.linear(from, this.weightPart, this.biasPart)
    builder.release(from)
    builder.trace('linear', builder.batch, builder.rows, this.outputDim)
    return to
  }
}
