import { checkBoolean, checkFloat32, checkInteger, checkNames, expected } from '../../core/check.ts'
import { constant } from '../initialisers.ts'
import { Parameter } from '../../program/parameter.ts'
import type { Graph } from '../../program/graph.ts'
import { wholeWeight, type Value } from '../../program/operation.ts'
import { norm } from '../../program/operations/norm.ts'
import { Module } from '../module.ts'

/** What `LayerNorm` takes beside its size. */
export interface LayerNormOptions {
  /** @default true */
  readonly bias?: boolean
}

/**
 * y = (x − mean)/√(variance + epsilon)·w + b over each row; the variance divides by the size. Parameters: `weight`,
 * `bias`.
 *
 * @example
 * ```js
 * import { tensor } from 'heddle'
 * import { LayerNorm } from 'heddle/nn'
 *
 * const { output } = await new LayerNorm(2).forward(tensor(Float32Array.of(1, 3), [1, 2]))
 * console.log(output.data[1].toFixed(4)) // 1.0000
 * ```
 */
export class LayerNorm extends Module {
  /** elements per row, as in the input */
  readonly outputDim: number
  /** [size], ones at the start */
  readonly weight: Parameter
  /** [size], zeros at the start; null without a bias */
  readonly bias: Parameter | null

  /**
   * @param inputDim elements per row
   * @param epsilon 1e-5 as in PyTorch
   * @throws {OptionError} unless the size is an integer ≥ 1 and epsilon a finite number ≥ 0
   */
  constructor(
    readonly inputDim: number,
    readonly epsilon = 1e-5,
    options: LayerNormOptions = {},
  ) {
    super()
    options = checkNames('LayerNorm: options', options, ['bias'])
    const { bias = true } = options
    checkBoolean('LayerNorm: option bias', bias)
    checkInteger('LayerNorm: size', inputDim, 1)
    checkFloat32('LayerNorm: epsilon', epsilon)
    if (epsilon < 0) throw expected('LayerNorm: epsilon', 'a number ≥ 0', epsilon)
    this.outputDim = inputDim
    this.weight = this.addParameter('weight', new Parameter([inputDim]))
    this.bias = bias ? this.addParameter('bias', new Parameter([inputDim])) : null
    constant(this.weight, 1)
  }

  override get label(): string {
    return 'LayerNorm'
  }

  override build(graph: Graph, input: Value): Value {
    const output = norm(
      graph,
      input,
      wholeWeight(this.weight),
      this.bias === null ? null : wholeWeight(this.bias),
      this.epsilon,
    )
    graph.trace('norm', output)
    return output
  }
}
