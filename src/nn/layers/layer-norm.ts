import { checkFinite, checkInteger, expected } from '../../core/check.ts'
import type { Register } from '../../protocol/stage.ts'
import { constant } from '../initialisers.ts'
import { Parameter } from '../../program/parameter.ts'
import type { StageBuilder } from '../stage/stage-builder.ts'
import { RowLayer } from './row-layer.ts'

/** y = (x − mean)/√(variance + epsilon)·w + b over each row; the variance divides by the size. Parameters: `weight`, `bias`. */
export class LayerNorm extends RowLayer {
  readonly label = 'LayerNorm'
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
    checkFinite('LayerNorm: epsilon', epsilon)
    if (epsilon < 0) throw expected('LayerNorm: epsilon', 'a number ≥ 0', epsilon)
    this.outputDim = inputDim
    this.weight = this.addParameter('weight', new Parameter([inputDim]))
    this.bias = this.addParameter('bias', new Parameter([inputDim]))
    constant(this.weight, 1)
  }

  /** Leaves `from` as it is where `keep` is set, for a residual. */
  override apply(builder: StageBuilder, from: Register, _context?: unknown, keep = false): Register {
    const to = builder.norm(from, this.weight, this.bias, this.epsilon)
    if (!keep) builder.release(from)
    builder.trace('norm', builder.batch, builder.rows, this.outputDim)
    return to
  }
}
