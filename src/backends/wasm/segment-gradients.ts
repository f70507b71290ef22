import {
  FLAG_BIAS_COLUMNS, FLAG_BIAS_MATRIX, FLAG_BIAS_ROWS, FLAG_SLOPES, P_BIAS_COLUMNS, P_BIAS_ROWS, P_D_KEY, P_D_OUTPUT, P_D_OUTPUT_ROWS, P_D_QUERY,
  P_D_SCORES, P_D_VALUE, P_DELTA, P_KEPT, P_KEY_PANELS, P_QUERY_ROWS, P_SLOPE_ROWS, P_VALUE_KEYS, TILE_ROWS,
} from '../../../assembly/abi.ts'
import { roundUp } from '../../core/integers.ts'
import type { BackwardArena } from '../../plan/backward-arena.ts'
import type { AttentionBackwardResult, AttentionBackwardTask, BackwardHead, BiasGradient } from '../../protocol/backward-task.ts'
import type { Slice } from '../../protocol/task.ts'
import type { TaskContext } from '../backend.ts'
import type { Arena } from './arena.ts'
import { copyIn, copyOut } from './copy-rows.ts'
import { sinksOf, type Sinks } from './segment-sinks.ts'
import { floatsOf, type SegmentBlock, type SegmentTile, type SegmentWork } from './segment-sweep.ts'
import { keepScaleOf } from './task-parameters.ts'

const BIAS_FLAGS: Readonly<Record<BiasGradient, number>> = { matrix: FLAG_BIAS_MATRIX, columns: FLAG_BIAS_COLUMNS, rows: FLAG_BIAS_ROWS }

/** The gradients of one task: what its sweep loads, and where its results go. */
export class SegmentGradients implements SegmentWork {
  readonly flags: number
  readonly #sinks: Sinks
  /** δ of every row of every head */
  readonly #delta: Float32Array
  readonly #slopes: Float64Array | undefined

  constructor(
    private readonly arena: Arena,
    private readonly layout: BackwardArena,
    private readonly task: AttentionBackwardTask,
    private readonly context: TaskContext,
  ) {
    const { heads, rows, biasGradient, slopeGradient } = task
    this.flags = (biasGradient === undefined ? 0 : BIAS_FLAGS[biasGradient]) | (slopeGradient ? FLAG_SLOPES : 0)
    this.#sinks = sinksOf(task, context)
    this.#delta = new Float32Array(heads.length * rows)
    this.#slopes = slopeGradient ? new Float64Array(heads.length) : undefined
    this.#setPlaces()
  }

  get heads(): readonly BackwardHead[] {
    return this.task.heads
  }

  inspect({ head, row, rows }: Omit<SegmentTile, 'extreme'>): boolean {
    const { arena, layout, context, task: { settings: { valueSize } } } = this
    const { output, dOutput } = this.heads[head] as BackwardHead
    copyIn(arena.floats, layout.raw >> 2, valueSize, floatsOf(context, output.array), output, row, rows, 0, valueSize)
    copyIn(arena.floats, layout.dOutputRows >> 2, layout.valueColumns, floatsOf(context, dOutput.array), dOutput, row, rows, 0, valueSize)
    arena.kernels.dotRows(layout.raw, valueSize, layout.dOutputRows, layout.valueColumns, rows, valueSize, layout.delta)
    this.#delta.set(arena.floats.subarray(layout.delta >> 2, (layout.delta >> 2) + rows), head * this.task.rows + row)
    return arena.kernels.hasExtremes(layout.raw, rows * valueSize) !== 0 || arena.kernels.hasExtremes(layout.dOutputRows, rows * layout.valueColumns) !== 0
  }

  openBlock(): void {
    const { arena: { floats }, layout } = this
    floats.fill(0, layout.dKey >> 2, (layout.dKey >> 2) + layout.blockRows * layout.headColumns)
    floats.fill(0, layout.dValue >> 2, (layout.dValue >> 2) + layout.blockRows * layout.valueColumns)
  }

  loadKeys({ start, keys }: SegmentBlock): boolean {
    const { arena: { floats, kernels }, layout, context, task: { key, value, settings: { headSize, valueSize, scale } } } = this
    copyIn(floats, layout.raw >> 2, valueSize, floatsOf(context, value.array), value, start, keys, 0, valueSize)
    const extremeValues = kernels.hasExtremes(layout.raw, keys * valueSize) !== 0
    kernels.packKeys(layout.raw, layout.valueKeys, keys, valueSize)
    copyIn(floats, layout.raw >> 2, headSize, floatsOf(context, key.array), key, start, keys, 0, headSize)
    const extremeKeys = kernels.hasExtremes(layout.raw, keys * headSize) !== 0
    kernels.packKeys(layout.raw, layout.key, keys, headSize)
    // The products with these panels are dQ: they bring the scale in.
    kernels.scaleFloats(layout.raw, keys * headSize, scale)
    kernels.packPanels(layout.raw, keys, headSize, layout.keyPanels, layout.blockRows)
    return extremeKeys || extremeValues
  }

  openHead(): void {
    const { arena: { floats }, layout } = this
    if (this.task.biasGradient === 'columns') floats.fill(0, layout.biasColumns >> 2, (layout.biasColumns >> 2) + layout.blockRows)
  }

  loadTile(tile: SegmentTile, without: readonly number[]): void {
    const { arena: { floats, kernels }, layout, task: { settings: { headSize, valueSize, scale } } } = this
    const { query, dOutput } = this.heads[tile.head] as BackwardHead
    const { rows } = tile
    this.#loadRows(layout.queryRows, layout.headColumns, query, tile, headSize, without)
    kernels.packLanes(layout.queryRows, layout.headColumns, layout.query, rows, headSize, headSize, Math.sign(scale))
    this.#loadRows(layout.dOutputRows, layout.valueColumns, dOutput, tile, valueSize, without)
    const keepScale = keepScaleOf(this.task)
    if (keepScale !== 1) kernels.scaleFloats(layout.dOutputRows, rows * layout.valueColumns, keepScale)
    kernels.packLanes(layout.dOutputRows, layout.valueColumns, layout.dOutput, rows, valueSize, valueSize, 1)
    const delta = layout.delta >> 2
    const from = tile.head * this.task.rows + tile.row
    floats.set(this.#delta.subarray(from, from + rows), delta)
    floats.fill(0, delta + rows, delta + roundUp(rows, 8))
    for (const row of without) floats[delta + row] = 0
    this.#loadQueryGradients(tile, rows)
    this.#clearSums(rows)
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
    const { arena: { floats }, layout, task: { settings: { headSize }, biasGradient } } = this
    const { array, slice } = this.#sinks.dQuery(tile.head)
    copyOut(floats, layout.dQuery >> 2, layout.headColumns, array, slice, tile.row, tile.rows, 0, headSize)
    if (biasGradient === 'matrix') this.#storeBiasMatrix(tile, block)
    if (biasGradient === 'rows') this.#addBiasRows(tile)
    if (this.#slopes !== undefined) this.#addSlopes(tile, this.#slopes)
  }

  closeHead(head: number, { start, keys }: SegmentBlock): void {
    if (this.task.biasGradient !== 'columns') return
    const { array, slice } = this.#sinks.dBias(head)
    copyOut(this.arena.floats, this.layout.biasColumns >> 2, keys, array, slice, 0, 1, start - this.task.keyStart, keys)
  }

  closeBlock({ start, keys }: SegmentBlock): void {
    const { arena: { floats, kernels }, layout, task: { keyStart, settings: { headSize, valueSize, scale } } } = this
    kernels.scaleFloats(layout.dKey, keys * layout.headColumns, scale)
    const { dKey, dValue } = this.#sinks
    copyOut(floats, layout.dKey >> 2, layout.headColumns, dKey.array, dKey.slice, start - keyStart, keys, 0, headSize)
    copyOut(floats, layout.dValue >> 2, layout.valueColumns, dValue.array, dValue.slice, start - keyStart, keys, 0, valueSize)
  }

  /** The arrays that travel with the answer. */
  finish(): Partial<AttentionBackwardResult> {
    return { ...this.#sinks.dense, ...(this.#slopes === undefined ? {} : { dAlibiSlopes: this.#slopes }) }
  }

  /** Rows to row-major places, zeros up to the next group and where a row takes no part. */
  #loadRows(at: number, columns: number, slice: Slice, { row, rows }: SegmentTile, width: number, without: readonly number[]): void {
    const { arena: { floats }, context } = this
    const to = at >> 2
    copyIn(floats, to, columns, floatsOf(context, slice.array), slice, row, rows, 0, width)
    if (rows % 8 !== 0) floats.fill(0, to + rows * columns, to + roundUp(rows, 8) * columns)
    for (const r of without) floats.fill(0, to + r * columns, to + (r + 1) * columns)
  }

  #loadQueryGradients({ head, row }: SegmentTile, rows: number): void {
    const { arena: { floats }, layout, task: { settings: { headSize } } } = this
    const { array, slice } = this.#sinks.dQuery(head)
    copyIn(floats, layout.dQuery >> 2, layout.headColumns, array, { array: 0, ...slice }, row, rows, 0, headSize)
  }

  /** What groups that see no key leave as it is. */
  #clearSums(rows: number): void {
    const { arena: { floats }, layout, task: { biasGradient } } = this
    if (biasGradient === 'matrix') floats.fill(0, layout.transfer >> 2, (layout.transfer >> 2) + rows * layout.blockRows)
    if (biasGradient === 'rows') floats.fill(0, layout.biasRows >> 2, (layout.biasRows >> 2) + TILE_ROWS)
    if (this.#slopes !== undefined) floats.fill(0, layout.slopeRows >> 2, (layout.slopeRows >> 2) + TILE_ROWS)
  }

  #storeBiasMatrix({ head, row, rows }: SegmentTile, { start, keys }: SegmentBlock): void {
    const { arena: { floats }, layout: { transfer, blockRows }, task: { keyStart } } = this
    const { array, slice } = this.#sinks.dBias(head)
    copyOut(floats, transfer >> 2, blockRows, array, slice, row, rows, start - keyStart, keys)
  }

  #addBiasRows({ head, row, rows }: SegmentTile): void {
    const { arena: { floats }, layout } = this
    const { array, slice: { offset, rowStride } } = this.#sinks.dBias(head)
    for (let r = 0; r < rows; r++) (array[offset + (row + r) * rowStride] as number) += floats[(layout.biasRows >> 2) + r] as number
  }

  /** In float64, in row order: slopes sum over all pairs of a head. */
  #addSlopes({ head, rows }: SegmentTile, slopes: Float64Array): void {
    const { arena: { floats }, layout } = this
    for (let r = 0; r < rows; r++) (slopes[head] as number) -= floats[(layout.slopeRows >> 2) + r] as number
  }

  #setPlaces(): void {
    const { arena, layout } = this
    arena.setInteger(P_DELTA, layout.delta)
    arena.setInteger(P_D_OUTPUT, layout.dOutput)
    arena.setInteger(P_VALUE_KEYS, layout.valueKeys)
    arena.setInteger(P_KEY_PANELS, layout.keyPanels)
    arena.setInteger(P_QUERY_ROWS, layout.queryRows)
    arena.setInteger(P_D_OUTPUT_ROWS, layout.dOutputRows)
    arena.setInteger(P_D_SCORES, layout.dScores)
    arena.setInteger(P_D_QUERY, layout.dQuery)
    arena.setInteger(P_D_KEY, layout.dKey)
    arena.setInteger(P_D_VALUE, layout.dValue)
    arena.setInteger(P_KEPT, layout.kept)
    arena.setInteger(P_BIAS_COLUMNS, layout.biasColumns)
    arena.setInteger(P_BIAS_ROWS, layout.biasRows)
    arena.setInteger(P_SLOPE_ROWS, layout.slopeRows)
    clearPadding(arena, layout, this.task.settings)
  }
}

/** Columns that fill panels up are zeros for the whole task: nothing writes them. */
export function clearPadding({ floats }: Arena, layout: BackwardArena, { headSize, valueSize }: { readonly headSize: number; readonly valueSize: number }): void {
  if (layout.headColumns !== headSize) floats.fill(0, layout.queryRows >> 2, layout.dOutputRows >> 2)
  if (layout.valueColumns !== valueSize) floats.fill(0, layout.dOutputRows >> 2, layout.dQuery >> 2)
}
