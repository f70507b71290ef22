import { checkInteger, checkNames, checkOneOf } from '../../core/check.ts'
import { exactExp } from '../../core/elementary.ts'
import { OptionError } from '../../core/errors.ts'
import { allocate } from '../../core/ledger.ts'
import { probeSharedMemory } from '../../core/shared-memory.ts'
import type { Tensor } from '../../core/tensor.ts'
import type { Register } from '../../protocol/stage.ts'
import { normal } from '../initialisers.ts'
import { Parameter } from '../../program/parameter.ts'
import type { Seed } from '../../core/seed.ts'
import { exactCos, exactSin } from '../../core/sine.ts'
import { RowBuffer } from '../stage/buffers.ts'
import type { StageBuilder } from '../stage/stage-builder.ts'
import { Dropout } from './dropout.ts'
import { RowLayer, type RowContext } from './row-layer.ts'

const LN_10000 = 9.210340371976184

/**
 * The paper's table (Vaswani et al. 2017, §3.5): PE(p, 2i) = sin(p / 10000^(2i/E)), PE(p, 2i + 1) = cos(the same).
 *
 * @param from first position
 * @returns [rows, modelDim], new, the caller's
 */
export function sinusoidalTable(rows: number, modelDim: number, from = 0): Tensor {
  checkInteger('sinusoidalTable: rows', rows, 0)
  checkInteger('sinusoidalTable: modelDim', modelDim, 1)
  const data = new Float32Array(allocate('positional encoding', rows * modelDim * 4, probeSharedMemory().available))
  for (let pair = 0; 2 * pair < modelDim; pair++) {
    const frequency = exactExp((-2 * pair * LN_10000) / modelDim)
    for (let row = 0; row < rows; row++) {
      const angle = (from + row) * frequency
      data[row * modelDim + 2 * pair] = exactSin(angle)
      if (2 * pair + 1 < modelDim) data[row * modelDim + 2 * pair + 1] = exactCos(angle)
    }
  }
  return { data, shape: [rows, modelDim] }
}

export interface PositionalEncodingOptions {
  readonly modelDim: number
  /** @default 'sinusoidal', which has no parameters and no longest sequence */
  readonly kind?: 'sinusoidal' | 'learned'
  /** positions that a learned table holds; needed there */
  readonly maxLength?: number
  /** @default 0 */
  readonly dropout?: number
  /** @default 0 */
  readonly seed?: Seed
}

/** y = x + PE(position). Learned positions are a parameter `weight` [maxLength, modelDim]. */
export class PositionalEncoding extends RowLayer {
  readonly label = 'PositionalEncoding'
  readonly inputDim: number
  readonly outputDim: number
  readonly weight: Parameter | null
  readonly dropout: Dropout
  #table: Tensor | null = null

  /** @throws {OptionError} for unknown names, wrong values, or learned positions without a maxLength */
  constructor(options: PositionalEncodingOptions) {
    super()
    checkNames('PositionalEncoding: options', options, ['modelDim', 'kind', 'maxLength', 'dropout', 'seed'])
    const { modelDim, kind = 'sinusoidal', maxLength, dropout = 0, seed = 0 } = options
    checkInteger('PositionalEncoding: option modelDim', modelDim, 1)
    checkOneOf('PositionalEncoding: option kind', kind, ['sinusoidal', 'learned'])
    this.inputDim = modelDim
    this.outputDim = modelDim
    this.dropout = this.addModule('dropout', new Dropout(modelDim, dropout))
    if (kind === 'sinusoidal') {
      this.weight = null
      return
    }
    checkInteger('PositionalEncoding: option maxLength', maxLength, 1)
    this.weight = this.addParameter('weight', new Parameter([maxLength, modelDim]))
    normal(this.weight, seed, 0, 0.02)
  }

  override get drops(): boolean {
    return this.dropout.drops
  }

  /** The encoding of positions [0, rows). */
  table(rows: number): Tensor {
    if (this.weight !== null) {
      const [maxLength = 0] = this.weight.shape
      if (rows > maxLength) throw new OptionError(`PositionalEncoding: expected at most ${maxLength} learned positions, got ${rows}`)
      return this.weight
    }
    if (this.#table === null || (this.#table.shape[0] ?? 0) < rows) this.#table = sinusoidalTable(rows, this.inputDim)
    return this.#table
  }

  override apply(builder: StageBuilder, from: Register, context: RowContext): Register {
    const { data, shape } = this.table(builder.rows + context.position)
    const positions = new RowBuffer('positions', 1, shape[0] ?? 0, this.inputDim, data)
    builder.add(from, builder.load(positions, context.position))
    builder.trace('positions added', builder.batch, builder.rows, this.outputDim)
    return this.dropout.apply(builder, from, context)
  }
}
