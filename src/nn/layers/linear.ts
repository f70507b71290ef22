import { checkBoolean, checkInteger, checkNames, checkOneOf } from '../../core/check.ts'
import { initialise, WEIGHT_INITIALISATIONS, type WeightInitialisation } from '../initialisers.ts'
import { Parameter } from '../../program/parameter.ts'
import type { Seed } from '../../core/seed.ts'
import type { Graph } from '../../program/graph.ts'
import { wholeWeight, type Value } from '../../program/operation.ts'
import { linear } from '../../program/operations/linear.ts'
import { Module } from '../module.ts'

/** What `Linear` takes beside its sizes. */
export interface LinearOptions {
  /** @default true */
  readonly bias?: boolean
  /** The bias starts as zeros. @default 'xavier-uniform' */
  readonly initialisation?: WeightInitialisation
  /** @default 0 */
  readonly seed?: Seed
}

/**
 * y = x·Wᵀ + b, W [outputDim, inputDim]. Parameters: `weight`, `bias`.
 *
 * @example
 * ```js
 * import { tensor } from 'heddle'
 * import { Linear } from 'heddle/nn'
 *
 * const linear = new Linear(64, 16, { seed: 1 })
 * const { output } = await linear.forward(tensor(new Float32Array(10 * 64), [10, 64]))
 * console.log(output.shape) // [ 10, 16 ]
 * ```
 */
export class Linear extends Module {
  /** [outputDim, inputDim] */
  readonly weight: Parameter
  /** [outputDim]; null without a bias */
  readonly bias: Parameter | null

  /**
   * @param inputDim elements per row of the input
   * @throws {OptionError} unless both sizes are integers ≥ 1, for unknown names and wrong values
   */
  constructor(
    readonly inputDim: number,
    /** elements per row of the output */
    readonly outputDim: number,
    options: LinearOptions = {},
  ) {
    super()
    checkInteger('Linear: inputDim', inputDim, 1)
    checkInteger('Linear: outputDim', outputDim, 1)
    options = checkNames('Linear: options', options, ['bias', 'initialisation', 'seed'])
    const { bias = true, initialisation = 'xavier-uniform', seed = 0 } = options
    checkBoolean('Linear: option bias', bias)
    checkOneOf('Linear: option initialisation', initialisation, WEIGHT_INITIALISATIONS)
    this.weight = this.addParameter('weight', new Parameter([outputDim, inputDim]))
    this.bias = bias ? this.addParameter('bias', new Parameter([outputDim])) : null
    initialise(this.weight, initialisation, seed)
  }

  override get label(): string {
    return 'Linear'
  }

  override build(graph: Graph, input: Value): Value {
    const output = this.apply(graph, input)
    graph.trace('linear', output)
    return output
  }

  /**
   * The same without a trace of its own, for layers that name the result.
   *
   * @param graph the graph that is built
   * @param input [batch, rows, inputDim]
   */
  apply(graph: Graph, input: Value): Value {
    return linear(graph, input, wholeWeight(this.weight), this.bias === null ? null : wholeWeight(this.bias))
  }
}
