import { checkFloat32, checkInteger, expected } from '../../core/check.ts'
import { constant } from '../initialisers.ts'
import { Parameter } from '../../program/parameter.ts'
import type { Graph } from '../../program/graph.ts'
import { wholeWeight, type Value } from '../../program/operation.ts'
import { norm } from '../../program/operations/norm.ts'
import { Module } from '../module.ts'

/** y = (x − mean)/√(variance + epsilon)·w + b over each row; the variance divides by the size. Parameters: `weight`, `bias`. */
export class LayerNorm extends Module {
  readonly outputDim: number
  readonly weight: Parameter
  readonly bias: Parameter

  /** @param epsilon 1e-5 as in PyTorch */
  constructor(
    readonly inputDim: number,
    readonly epsilon = 1e-5,
  ) {
    super()
    checkInteger('LayerNorm: size', inputDim, 1)
    checkFloat32('LayerNorm: epsilon', epsilon)
    if (epsilon < 0) throw expected('LayerNorm: epsilon', 'a number ≥ 0', epsilon)
    this.outputDim = inputDim
    this.weight = this.addParameter('weight', new Parameter([inputDim]))
    this.bias = this.addParameter('bias', new Parameter([inputDim]))
    constant(this.weight, 1)
  }

  override get label(): string {
    return 'LayerNorm'
  }

  override build(graph: Graph, input: Value): Value {
    const output = norm(graph, input, wholeWeight(this.weight), wholeWeight(this.bias), this.epsilon)
    graph.trace('norm', output)
    return output
  }
}
