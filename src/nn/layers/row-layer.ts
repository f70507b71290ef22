import type { Runtime } from '../../attention/runtime.ts'
import { checkShape, checkTensor } from '../../core/tensor.ts'
import type { SeedWords } from '../../core/philox.ts'
import type { Tensor } from '../../core/tensor.ts'
import type { Register } from '../../protocol/stage.ts'
import { checkForward, dropoutSeed, planForward, rowsOfShape, runForward, type ForwardOptions, type LayerResult } from '../forward-options.ts'
import { Module } from '../module.ts'
import { RowBuffer } from '../stage/buffers.ts'
import type { LayerPlan } from '../stage/program-plan.ts'
import type { StageProgram } from '../stage/program.ts'
import { StageBuilder } from '../stage/stage-builder.ts'

/** What a row-wise layer must know of the pass that it is a part of. */
export interface RowContext {
  /** null where no dropout is active */
  readonly seed: SeedWords | null
  /** position of the pass's first row in its sequence */
  readonly position: number
  /** tells dropouts of one stage apart; counts up */
  nextSite(): number
}

export function rowContext(seed: SeedWords | null, position = 0): RowContext {
  let site = 0
  return { seed, position, nextSite: () => ++site }
}

/** A layer that maps each row of [B, M, inputDim] to a row of [B, M, outputDim], whatever the others are. */
export abstract class RowLayer extends Module {
  abstract readonly inputDim: number
  abstract readonly outputDim: number
  /** its name in messages and traces */
  abstract readonly label: string

  /** Adds the layer to a stage. `from` is given back to the builder, or is what comes back. */
  abstract apply(builder: StageBuilder, from: Register, context: RowContext): Register

  /** Whether a forward pass drops anything now. */
  get drops(): boolean {
    return false
  }

  /**
   * The layer over every row of `input`.
   *
   * @param input [B, M, inputDim] or [M, inputDim]; neither changed nor kept
   * @returns output of the input's shape with outputDim last, the caller's; in shared memory if the input was
   * @throws {ShapeError} {OptionError} before anything is allocated
   */
  async forward(input: Tensor, options: ForwardOptions = {}): Promise<LayerResult> {
    checkForward(this.label, options)
    checkTensor(`${this.label}: input`, Float32Array, input)
    const program = this.#program(input.shape, input.data, dropoutSeed(this.label, this.drops, options.seed))
    const { data, report } = await runForward(program, options, [input])
    return { output: { data, shape: [...input.shape.slice(0, -1), this.outputDim] }, report }
  }

  /** What `forward` would do and hold for an input of this shape. @throws {MemoryBudgetError} when nothing fits the budget */
  plan(runtime: Runtime, shape: readonly number[]): LayerPlan {
    checkShape(`${this.label}: input`, shape)
    return planForward(this.#program(shape, null, null), runtime)
  }

  #program(shape: readonly number[], data: Float32Array | null, seed: SeedWords | null): StageProgram {
    const { batch, rows } = rowsOfShape(`${this.label}: input`, shape, this.inputDim)
    const input = new RowBuffer('input', batch, rows, this.inputDim, data, true)
    const output = new RowBuffer('output', batch, rows, this.outputDim)
    const builder = new StageBuilder(this.label, batch, rows)
    builder.store(this.apply(builder, builder.load(input), rowContext(seed)), output)
    const stage = builder.finish()
    return { parts: [stage], output, watched: [{ layer: this.label, after: stage, input, output }] }
  }
}
