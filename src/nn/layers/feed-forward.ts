import { checkInteger, checkNames, checkOneOf } from '../../core/check.ts'
import type { Activation } from '../../protocol/stage.ts'
import type { WeightInitialisation } from '../initialisers.ts'
import { deriveSeed, seedValue, seedWords, type Seed } from '../../core/seed.ts'
import type { Graph } from '../../program/graph.ts'
import type { Value } from '../../program/operation.ts'
import { activate } from '../../program/operations/elementwise.ts'
import { Module } from '../module.ts'
import { Dropout } from './dropout.ts'
import { Linear } from './linear.ts'

export const ACTIVATIONS: readonly Activation[] = ['relu', 'gelu', 'gelu-tanh', 'silu', 'tanh']

/** What `FeedForward` takes. */
export interface FeedForwardOptions {
  /** E: elements per row of input and output */
  readonly modelDim: number
  /** the hidden size. @default 4 · modelDim */
  readonly feedForwardDim?: number
  /** `gelu` is x·Φ(x), exact; `gelu-tanh` its usual approximation; `silu` is x/(1 + e^(−x)); `tanh`. @default 'relu' */
  readonly activation?: Activation
  /** of the hidden layer, and of the output. @default 0 */
  readonly dropout?: number
  /** @default 'xavier-uniform' */
  readonly initialisation?: WeightInitialisation
  /** @default 0 */
  readonly seed?: Seed
}

const NAMES: readonly (keyof FeedForwardOptions)[] = [
  'modelDim',
  'feedForwardDim',
  'activation',
  'dropout',
  'initialisation',
  'seed',
]

/**
 * y = W₂·f(W₁·x + b₁) + b₂. The hidden layer exists for a few rows at a time only. Parameters: `linear1.weight`,
 * `linear1.bias`, `linear2.weight`, `linear2.bias`.
 *
 * @example
 * ```js
 * import { tensor } from 'heddle'
 * import { FeedForward } from 'heddle/nn'
 *
 * const feedForward = new FeedForward({ modelDim: 64, activation: 'gelu', seed: 1 })
 * const { output } = await feedForward.forward(tensor(new Float32Array(10 * 64), [10, 64]))
 * console.log(output.shape) // [ 10, 64 ]
 * ```
 */
export class FeedForward extends Module {
  readonly inputDim: number
  /** E */
  readonly outputDim: number
  /** f */
  readonly activation: Activation
  /** E to the hidden size */
  readonly linear1: Linear
  /** the hidden size to E */
  readonly linear2: Linear
  /** of f's output */
  readonly hiddenDropout: Dropout
  /** of the layer's output */
  readonly outputDropout: Dropout

  /** @throws {OptionError} for unknown names and wrong values */
  constructor(options: FeedForwardOptions) {
    super()
    options = checkNames('FeedForward: options', options, NAMES)
    const {
      modelDim,
      feedForwardDim: hidden = 4 * modelDim,
      activation = 'relu',
      dropout = 0,
      initialisation = 'xavier-uniform',
      seed = 0,
    } = options
    checkInteger('FeedForward: option modelDim', modelDim, 1)
    checkInteger('FeedForward: option feedForwardDim', hidden, 1)
    checkOneOf('FeedForward: option activation', activation, ACTIVATIONS)
    const words = seedWords('FeedForward: option seed', seed)
    this.inputDim = modelDim
    this.outputDim = modelDim
    this.activation = activation
    this.linear1 = this.addModule(
      'linear1',
      new Linear(modelDim, hidden, { initialisation, seed: seedValue(deriveSeed(words, 0)) }),
    )
    this.linear2 = this.addModule(
      'linear2',
      new Linear(hidden, modelDim, { initialisation, seed: seedValue(deriveSeed(words, 1)) }),
    )
    this.hiddenDropout = this.addModule('dropout1', new Dropout(hidden, dropout))
    this.outputDropout = this.addModule('dropout2', new Dropout(modelDim, dropout))
  }

  override get label(): string {
    return 'FeedForward'
  }

  override build(graph: Graph, input: Value): Value {
    const hidden = this.linear1.apply(graph, input)
    graph.trace('hidden', hidden)
    const dropped = this.hiddenDropout.build(graph, activate(graph, hidden, this.activation))
    return this.outputDropout.build(graph, this.linear2.build(graph, dropped))
  }
}
