import { checkInteger, checkNames, checkOneOf } from '../../core/check.ts'
import type { Activation, Register } from '../../protocol/stage.ts'
import type { WeightInitialisation } from '../initialisers.ts'
import { deriveSeed, seedValue, seedWords, type Seed } from '../../core/seed.ts'
import type { StageBuilder } from '../stage/stage-builder.ts'
import { Dropout } from './dropout.ts'
import { Linear } from './linear.ts'
import { RowLayer, type RowContext } from './row-layer.ts'

export const ACTIVATIONS: readonly Activation[] = ['relu', 'gelu', 'gelu-tanh']

export interface FeedForwardOptions {
  readonly modelDim: number
  /** the hidden size. @default 4 · modelDim */
  readonly feedForwardDim?: number
  /** `gelu` is x·Φ(x), exact; `gelu-tanh` its usual approximation. @default 'relu' */
  readonly activation?: Activation
  /** of the hidden layer, and of the output. @default 0 */
  readonly dropout?: number
  /** @default 'xavier-uniform' */
  readonly initialisation?: WeightInitialisation
  /** @default 0 */
  readonly seed?: Seed
}

const NAMES: readonly (keyof FeedForwardOptions)[] = ['modelDim', 'feedForwardDim', 'activation', 'dropout', 'initialisation', 'seed']

/**
 * y = W₂·f(W₁·x + b₁) + b₂. The hidden layer exists for a few rows at a time only. Parameters: `linear1.weight`,
 * `linear1.bias`, `linear2.weight`, `linear2.bias`.
 */
export class FeedForward extends RowLayer {
  readonly label = 'FeedForward'
  readonly inputDim: number
  readonly outputDim: number
  readonly activation: Activation
  readonly linear1: Linear
  readonly linear2: Linear
  readonly hiddenDropout: Dropout
  readonly outputDropout: Dropout

  /** @throws {OptionError} for unknown names and wrong values */
  constructor(options: FeedForwardOptions) {
    super()
    checkNames('FeedForward: options', options, NAMES)
    const { modelDim, feedForwardDim: hidden = 4 * modelDim, activation = 'relu', dropout = 0, initialisation = 'xavier-uniform', seed = 0 } = options
    checkInteger('FeedForward: option modelDim', modelDim, 1)
    checkInteger('FeedForward: option feedForwardDim', hidden, 1)
    checkOneOf('FeedForward: option activation', activation, ACTIVATIONS)
    const words = seedWords('FeedForward: option seed', seed)
    this.inputDim = modelDim
    this.outputDim = modelDim
    this.activation = activation
    this.linear1 = this.addModule('linear1', new Linear(modelDim, hidden, { initialisation, seed: seedValue(deriveSeed(words, 0)) }))
    this.linear2 = this.addModule('linear2', new Linear(hidden, modelDim, { initialisation, seed: seedValue(deriveSeed(words, 1)) }))
    this.hiddenDropout = this.addModule('dropout1', new Dropout(hidden, dropout))
    this.outputDropout = this.addModule('dropout2', new Dropout(modelDim, dropout))
  }

  override get drops(): boolean {
    return this.hiddenDropout.drops
  }

  /** `from` stays as it is where `keep` is set, for a residual. */
  override apply(builder: StageBuilder, from: Register, context: RowContext, keep = false): Register {
    const { linear1, linear2 } = this
    const hidden = builder.linear(from, linear1.weightPart, linear1.biasPart)
    if (!keep) builder.release(from)
    builder.trace('hidden', builder.batch, builder.rows, linear1.outputDim)
    builder.activate(hidden, this.activation)
    const output = linear2.apply(builder, this.hiddenDropout.apply(builder, hidden, context))
    return this.outputDropout.apply(builder, output, context)
  }
}
