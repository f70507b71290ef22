import { checkInteger, expected } from '../../core/check.ts'
import type { Graph } from '../../program/graph.ts'
import type { Value } from '../../program/operation.ts'
import { drop } from '../../program/operations/elementwise.ts'
import { Module } from '../module.ts'

/**
 * In training mode each element is 0 with the given probability, else times 1/(1 − probability); in evaluation mode
 * nothing.
 */
export class Dropout extends Module {
  /** elements per row, as in the input */
  readonly outputDim: number

  /**
   * @param inputDim elements per row
   * @throws {OptionError} unless the probability is from 0 to 1
   */
  constructor(
    readonly inputDim: number,
    /** with which an element is dropped, from 0 to 1 */
    readonly probability: number,
  ) {
    super()
    checkInteger('Dropout: size', inputDim, 1)
    checkProbability('Dropout: probability', probability)
    this.outputDim = inputDim
  }

  override get label(): string {
    return 'Dropout'
  }

  override get drops(): boolean {
    return this.training && this.probability > 0
  }

  override build(graph: Graph, input: Value): Value {
    return drop(graph, input, this.drops ? this.probability : 0)
  }
}

export function checkProbability(what: string, value: unknown): asserts value is number {
  if (typeof value !== 'number' || !(value >= 0 && value <= 1)) throw expected(what, 'a number from 0 to 1', value)
}
