import { checkInteger, checkNames, checkOneOf, expected } from '../../core/check.ts'
import { exactExp } from '../../core/elementary.ts'
import { OptionError } from '../../core/errors.ts'
import { allocate } from '../../core/ledger.ts'
import { probeSharedMemory } from '../../core/shared-memory.ts'
import type { Tensor } from '../../core/tensor.ts'
import { normal } from '../initialisers.ts'
import { Parameter } from '../../program/parameter.ts'
import type { Seed } from '../../core/seed.ts'
import { exactCos, exactSin } from '../../core/sine.ts'
import type { Graph } from '../../program/graph.ts'
import type { Value } from '../../program/operation.ts'
import { add } from '../../program/operations/elementwise.ts'
import { embed } from '../../program/operations/embed.ts'
import { positions } from '../../program/operations/positions.ts'
import { Module } from '../module.ts'
import { Dropout } from './dropout.ts'

const LN_10000 = 9.210340371976184

/**
 * The paper's table (Vaswani et al. 2017, §3.5): PE(p, 2i) = sin(p / 10000^(2i/E)), PE(p, 2i + 1) = cos(the same).
 *
 * @param rows how many positions
 * @param modelDim E
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

/** What `PositionalEncoding` takes. */
export interface PositionalEncodingOptions {
  /** E */
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

/**
 * y = x + PE(position). Learned positions are a parameter `weight` [maxLength, modelDim].
 *
 * @example
 * ```js
 * import { tensor } from 'heddle'
 * import { PositionalEncoding } from 'heddle/nn'
 *
 * const positions = new PositionalEncoding({ modelDim: 64 })
 * const { output } = await positions.forward(tensor(new Float32Array(10 * 64), [10, 64]))
 * console.log(output.data[64].toFixed(3)) // 0.841
 * ```
 */
export class PositionalEncoding extends Module {
  readonly inputDim: number
  /** E */
  readonly outputDim: number
  /** [maxLength, E] where positions are learned, else null */
  readonly weight: Parameter | null
  /** of the sum */
  readonly dropout: Dropout
  #table: Tensor | null = null

  /** @throws {OptionError} for unknown names, wrong values, or learned positions without a maxLength */
  constructor(options: PositionalEncodingOptions) {
    super()
    options = checkNames('PositionalEncoding: options', options, ['modelDim', 'kind', 'maxLength', 'dropout', 'seed'])
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

  override get label(): string {
    return 'PositionalEncoding'
  }

  /**
   * The encoding of positions [0, rows).
   *
   * @param rows how many positions
   */
  table(rows: number): Tensor {
    if (this.weight !== null) {
      const [maxLength = 0] = this.weight.shape
      if (rows > maxLength)
        throw new OptionError(`PositionalEncoding: expected at most ${maxLength} learned positions, got ${rows}`)
      return this.weight
    }
    if (this.#table === null || (this.#table.shape[0] ?? 0) < rows) this.#table = sinusoidalTable(rows, this.inputDim)
    return this.#table
  }

  override build(graph: Graph, input: Value): Value {
    if (graph.isRagged) return this.buildAt(graph, input, successive(graph.positions, input.rows))
    const { data, shape } = this.table(graph.position + input.rows)
    const table = graph.input('positions', { batch: 1, rows: shape[0] ?? 0, width: this.inputDim }, data, {
      layout: 'positions',
    })
    return this.#add(graph, input, positions(graph, table, input, this.weight))
  }

  /**
   * The same at given positions.
   *
   * @param graph the graph that is built
   * @param input [batch, rows, modelDim]
   * @param at [batch, rows] of the input
   * @throws {OptionError} for a position beyond the learned ones
   */
  buildAt(graph: Graph, input: Value, at: Tensor<Int32Array>): Value {
    let last = -1
    for (const position of at.data) {
      if (position < 0) throw expected(`${this.label}: positions`, 'integers ≥ 0', position)
      if (position > last) last = position
    }
    const {
      data,
      shape: [rows = 0],
    } = this.table(last + 1)
    if (this.weight !== null) {
      const indices = graph.input('position numbers', { batch: input.batch, rows: input.rows, width: 1 }, at.data, {
        layout: 'tokens',
        integers: true,
      })
      return this.#add(graph, input, embed(graph, indices, this.weight, 1))
    }
    const gathered = new Float32Array(at.data.length * this.inputDim)
    if (rows > 0)
      at.data.forEach((position, row) =>
        gathered.set(data.subarray(position * this.inputDim, (position + 1) * this.inputDim), row * this.inputDim),
      )
    return this.#add(
      graph,
      input,
      graph.input('positions', { batch: input.batch, rows: input.rows, width: this.inputDim }, gathered),
    )
  }

  #add(graph: Graph, input: Value, encoding: Value): Value {
    const output = add(graph, input, encoding)
    graph.trace('positions added', output)
    return this.dropout.build(graph, output)
  }
}

/** Positions of `rows` rows from each sequence's first, [B, rows]. */
function successive(first: readonly number[], rows: number): Tensor<Int32Array> {
  return {
    data: Int32Array.from(
      { length: first.length * rows },
      (_, index) => (first[Math.floor(index / rows)] ?? 0) + (index % rows),
    ),
    shape: [first.length, rows],
  }
}
