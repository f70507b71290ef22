import { checkFloat32, checkInteger, expected } from '../../core/check.ts'
import type { Graph } from '../../program/graph.ts'
import { wholeWeight, type Value } from '../../program/operation.ts'
import { rmsNorm } from '../../program/operations/rms-norm.ts'
import { Parameter } from '../../program/parameter.ts'
import { constant } from '../initialisers.ts'
import { Module } from '../module.ts'

/** y = x/√(mean(x²) + epsilon)·w over each row (Zhang and Sennrich 2019). Parameter: `weight`, ones at the start. */
export class RMSNorm extends Module {
  /** elements per row, as in the input */
  readonly outputDim: number
  /** [size], ones at the start */
  readonly weight: Parameter

  /**
   * @param inputDim elements per row
   * @param epsilon 1e-6 as in Llama, Qwen and most models that use it
   * @throws {OptionError} unless the size is an integer ≥ 1 and epsilon a finite number ≥ 0
   */
  constructor(
    readonly inputDim: number,
    readonly epsilon = 1e-6,
  ) {
    super()
    checkInteger('RMSNorm: size', inputDim, 1)
    checkFloat32('RMSNorm: epsilon', epsilon)
    if (epsilon < 0) throw expected('RMSNorm: epsilon', 'a number ≥ 0', epsilon)
    this.outputDim = inputDim
    this.weight = this.addParameter('weight', new Parameter([inputDim]))
    constant(this.weight, 1)
  }

  override get label(): string {
    return 'RMSNorm'
  }

  override build(graph: Graph, input: Value): Value {
    const output = rmsNorm(graph, input, wholeWeight(this.weight), this.epsilon)
    graph.trace('norm', output)
    return output
  }
}
