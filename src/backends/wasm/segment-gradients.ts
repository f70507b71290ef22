import {
  FLAG_BIAS_COLUMNS,
  FLAG_BIAS_MATRIX,
  FLAG_BIAS_ROWS,
  FLAG_SLOPES,
  P_BIAS_COLUMNS,
  P_BIAS_ROWS,
  P_D_KEY,
  P_D_QUERY,
  P_D_VALUE,
  P_SLOPE_ROWS,
  TILE_ROWS,
} from '../../../assembly/abi.ts'
import type { BackwardArena } from '../../plan/backward-arena.ts'
import type {
  AttentionBackwardResult,
  AttentionBackwardTask,
  BackwardHead,
  BiasGradient,
} from '../../protocol/backward-task.ts'
import type { TaskContext } from '../backend.ts'
import type { Arena } from './arena.ts'
import { copyIn, copyOut } from './copy-rows.ts'
import { GradientOperands } from './gradient-operands.ts'
import { sinksOf, type Sinks } from './segment-sinks.ts'
import type { RowFacts, SegmentBlock, SegmentTile, SegmentWork } from './segment-sweep.ts'

const BIAS_FLAGS: Readonly<Record<BiasGradient, number>> = {
  matrix: FLAG_BIAS_MATRIX,
  columns: FLAG_BIAS_COLUMNS,
  rows: FLAG_BIAS_ROWS,
  // A tile's dS, as for a matrix, of which the lane then adds the diagonals.
  diagonals: FLAG_BIAS_MATRIX,
}

/** The gradients of one task: what its sweep loads, and where its results go. */
export class SegmentGradients implements SegmentWork {
  readonly flags: number
  readonly #sinks: Sinks
  readonly #operands: GradientOperands
  readonly #slopes: Float64Array | undefined

  constructor(
    private readonly arena: Arena,
    private readonly layout: BackwardArena,
    private readonly task: AttentionBackwardTask,
    context: TaskContext,
  ) {
    const { heads, biasGradient, slopeGradient } = task
    this.flags = (biasGradient === undefined ? 0 : BIAS_FLAGS[biasGradient]) | (slopeGradient ? FLAG_SLOPES : 0)
    this.#sinks = sinksOf(task, context)
    this.#operands = new GradientOperands(arena, layout, task, context)
    this.#slopes = slopeGradient ? new Float64Array(heads.length) : undefined
  }

  get heads(): readonly BackwardHead[] {
    return this.task.heads
  }

  inspect(tile: Omit<SegmentTile, 'extreme'>): boolean {
    return this.#operands.inspect(tile)
  }

  openBlock(): void {
    const {
      arena: { floats },
      layout,
    } = this
    floats.fill(0, layout.dKey >> 2, (layout.dKey >> 2) + layout.blockRows * layout.headColumns)
    floats.fill(0, layout.dValue >> 2, (layout.dValue >> 2) + layout.blockRows * layout.valueColumns)
    floats.fill(0, layout.biasColumns >> 2, (layout.biasColumns >> 2) + layout.blockRows)
  }

  loadKeys(block: SegmentBlock): boolean {
    return this.#operands.loadKeys(block)
  }

  loadTile(tile: SegmentTile, facts: RowFacts): void {
    this.#operands.loadTile(tile, facts)
    this.#loadQueryGradients(tile)
    this.#clearSums(tile.rows)
  }

  run(): number {
    return this.arena.kernels.backwardTile()
  }

  skipTile(tile: SegmentTile, block: SegmentBlock): void {
    if (this.task.biasGradient !== 'matrix') return
    this.#clearSums(tile.rows)
    this.#storeBiasMatrix(tile, block)
  }

  storeTile(tile: SegmentTile, block: SegmentBlock): void {
    const {
      arena: { floats },
      layout,
      task: {
        settings: { headSize },
        biasGradient,
      },
    } = this
    const { array, slice } = this.#sinks.dQuery(tile.head)
    copyOut(floats, layout.dQuery >> 2, layout.headColumns, array, slice, tile.row, tile.rows, 0, headSize)
    if (biasGradient === 'matrix') this.#storeBiasMatrix(tile, block)
    if (biasGradient === 'rows') this.#addBiasRows(tile)
    if (biasGradient === 'diagonals') this.#addBiasDiagonals(tile, block)
    if (this.#slopes !== undefined) this.#addSlopes(tile, this.#slopes)
  }

  closeHead(head: number, { start, keys }: SegmentBlock): void {
    if (this.task.biasGradient !== 'columns') return
    const {
      arena: { floats },
      layout,
    } = this
    const at = layout.biasColumns >> 2
    const { array, slice } = this.#sinks.dBias(head)
    copyOut(floats, at, keys, array, slice, 0, 1, start - this.task.keyStart, keys)
    floats.fill(0, at, at + keys)
  }

  closeBlock({ start, keys }: SegmentBlock): void {
    const {
      arena: { floats, kernels },
      layout,
      task: {
        keyStart,
        settings: { headSize, valueSize, scale },
      },
    } = this
    kernels.scaleFloats(layout.dKey, keys * layout.headColumns, scale)
    const { dKey, dValue } = this.#sinks
    copyOut(floats, layout.dKey >> 2, layout.headColumns, dKey.array, dKey.slice, start - keyStart, keys, 0, headSize)
    copyOut(
      floats,
      layout.dValue >> 2,
      layout.valueColumns,
      dValue.array,
      dValue.slice,
      start - keyStart,
      keys,
      0,
      valueSize,
    )
  }

  /** The arrays that travel with the answer. */
  finish(): Partial<AttentionBackwardResult> {
    return { ...this.#sinks.dense, ...(this.#slopes === undefined ? {} : { dAlibiSlopes: this.#slopes }) }
  }

  #loadQueryGradients({ head, row, rows }: SegmentTile): void {
    const {
      arena: { floats },
      layout,
      task: {
        settings: { headSize },
      },
    } = this
    const { array, slice } = this.#sinks.dQuery(head)
    copyIn(floats, layout.dQuery >> 2, layout.headColumns, array, { array: 0, ...slice }, row, rows, 0, headSize)
  }

  /** What groups that see no key leave as it is. */
  #clearSums(rows: number): void {
    const {
      arena: { floats },
      layout,
      task: { biasGradient },
    } = this
    if (biasGradient === 'matrix' || biasGradient === 'diagonals')
      floats.fill(0, layout.transfer >> 2, (layout.transfer >> 2) + rows * layout.blockRows)
    if (biasGradient === 'rows') floats.fill(0, layout.biasRows >> 2, (layout.biasRows >> 2) + TILE_ROWS)
    if (this.#slopes !== undefined) floats.fill(0, layout.slopeRows >> 2, (layout.slopeRows >> 2) + TILE_ROWS)
  }

  #storeBiasMatrix({ head, row, rows }: SegmentTile, { start, keys }: SegmentBlock): void {
    const {
      arena: { floats },
      layout: { transfer, blockRows },
      task: { keyStart },
    } = this
    const { array, slice } = this.#sinks.dBias(head)
    copyOut(floats, transfer >> 2, blockRows, array, slice, row, rows, start - keyStart, keys)
  }

  #addBiasRows({ head, row, rows }: SegmentTile): void {
    const {
      arena: { floats },
      layout,
    } = this
    const {
      array,
      slice: { offset, rowStride },
    } = this.#sinks.dBias(head)
    for (let r = 0; r < rows; r++)
      (array[offset + (row + r) * rowStride] as number) += floats[(layout.biasRows >> 2) + r] as number
  }

  #addBiasDiagonals({ head, row, rows }: SegmentTile, { start, keys }: SegmentBlock): void {
    const {
      arena: { floats },
      layout: { transfer, blockRows },
      task,
    } = this
    const {
      array,
      slice: { offset },
    } = this.#sinks.dBias(head)
    for (let r = 0; r < rows; r++) {
      const from = (transfer >> 2) + r * blockRows
      const to = offset + (start - task.keyStart) - (row + r) + task.rows - 1
      for (let j = 0; j < keys; j++) array[to + j] = (array[to + j] as number) + (floats[from + j] as number)
    }
  }

  /** In float64, in row order: slopes sum over all pairs of a head. */
  #addSlopes({ head, rows }: SegmentTile, slopes: Float64Array): void {
    const {
      arena: { floats },
      layout,
    } = this
    for (let r = 0; r < rows; r++) (slopes[head] as number) -= floats[(layout.slopeRows >> 2) + r] as number
  }

  setPlaces(): void {
    const { arena, layout } = this
    this.#operands.setPlaces()
    arena.setInteger(P_D_QUERY, layout.dQuery)
    arena.setInteger(P_D_KEY, layout.dKey)
    arena.setInteger(P_D_VALUE, layout.dValue)
    arena.setInteger(P_BIAS_COLUMNS, layout.biasColumns)
    arena.setInteger(P_BIAS_ROWS, layout.biasRows)
    arena.setInteger(P_SLOPE_ROWS, layout.slopeRows)
  }
}
