import {
  P_D_OUTPUT,
  P_D_OUTPUT_ROWS,
  P_D_SCORES,
  P_DELTA,
  P_KEPT,
  P_KEY_PANELS,
  P_QUERY_ROWS,
  P_VALUE_KEYS,
} from '../../../assembly/abi.ts'
import { roundUp } from '../../core/integers.ts'
import type { BackwardArena } from '../../plan/backward-arena.ts'
import type { KeySegmentTask, OutputHead } from '../../protocol/backward-task.ts'
import type { Slice } from '../../protocol/task.ts'
import type { TaskContext } from '../backend.ts'
import type { Arena } from './arena.ts'
import { copyIn } from './copy-rows.ts'
import { floatsOf, type RowFacts, type SegmentBlock, type SegmentTile } from './segment-sweep.ts'
import { keepScaleOf } from './task-parameters.ts'

/** What the gradients of scores are made from. */
export interface GradientSource extends KeySegmentTask {
  readonly value: Slice
  readonly heads: readonly OutputHead[]
}

/** Brings the operands of dS into the arena: keys and values of a block, queries, dO and δ of a tile. */
export class GradientOperands {
  /** δ of every row of every head */
  readonly #delta: Float32Array

  constructor(
    private readonly arena: Arena,
    private readonly layout: BackwardArena,
    private readonly task: GradientSource,
    private readonly context: TaskContext,
  ) {
    this.#delta = new Float32Array(task.heads.length * task.rows)
  }

  setPlaces(): void {
    const { arena, layout } = this
    arena.setInteger(P_DELTA, layout.delta)
    arena.setInteger(P_D_OUTPUT, layout.dOutput)
    arena.setInteger(P_VALUE_KEYS, layout.valueKeys)
    arena.setInteger(P_KEY_PANELS, layout.keyPanels)
    arena.setInteger(P_QUERY_ROWS, layout.queryRows)
    arena.setInteger(P_D_OUTPUT_ROWS, layout.dOutputRows)
    arena.setInteger(P_D_SCORES, layout.dScores)
    arena.setInteger(P_KEPT, layout.kept)
    clearPadding(arena, layout, this.task.settings)
  }

  /** Computes δ of some rows. Returns whether output or dO is extreme. */
  inspect({ head, row, rows }: Omit<SegmentTile, 'extreme'>): boolean {
    const {
      arena: { floats, kernels },
      layout,
      context,
      task: {
        settings: { valueSize },
      },
    } = this
    const { output, dOutput } = this.task.heads[head] as OutputHead
    copyIn(floats, layout.raw >> 2, valueSize, floatsOf(context, output.array), output, row, rows, 0, valueSize)
    copyIn(
      floats,
      layout.dOutputRows >> 2,
      layout.valueColumns,
      floatsOf(context, dOutput.array),
      dOutput,
      row,
      rows,
      0,
      valueSize,
    )
    kernels.dotRows(layout.raw, valueSize, layout.dOutputRows, layout.valueColumns, rows, valueSize, layout.delta)
    this.#delta.set(floats.subarray(layout.delta >> 2, (layout.delta >> 2) + rows), head * this.task.rows + row)
    return (
      kernels.hasExtremes(layout.raw, rows * valueSize) !== 0 ||
      kernels.hasExtremes(layout.dOutputRows, rows * layout.valueColumns) !== 0
    )
  }

  /** Keys and values of a block. Returns whether they are extreme. */
  loadKeys({ start, keys }: SegmentBlock): boolean {
    const {
      arena: { floats, kernels },
      layout,
      context,
      task: {
        key,
        value,
        settings: { headSize, valueSize, scale },
      },
    } = this
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

  /**
   * Queries, dO and δ of a tile; dO comes multiplied by dropout's factor, and both by what P lacks: so dS and dV have
   * it.
   */
  loadTile(tile: SegmentTile, { without, scaled }: RowFacts): void {
    const {
      arena: { floats, kernels },
      layout,
      context,
      task,
    } = this
    const {
      settings: { headSize, valueSize, scale },
    } = task
    const { query, dOutput } = task.heads[tile.head] as OutputHead
    const { rows } = tile
    const place = { ...tile, without }
    loadRows(
      floats,
      { at: layout.queryRows, stride: layout.headColumns, width: headSize },
      floatsOf(context, query.array),
      query,
      place,
    )
    kernels.packLanes(layout.queryRows, layout.headColumns, layout.query, rows, headSize, headSize, Math.sign(scale))
    loadRows(
      floats,
      { at: layout.dOutputRows, stride: layout.valueColumns, width: valueSize },
      floatsOf(context, dOutput.array),
      dOutput,
      place,
    )
    const keepScale = keepScaleOf(task)
    if (keepScale !== 1) kernels.scaleFloats(layout.dOutputRows, rows * layout.valueColumns, keepScale)
    if (scaled) kernels.scaleEachRow(layout.dOutputRows, layout.valueColumns, rows, layout.rowFactors)
    kernels.packLanes(layout.dOutputRows, layout.valueColumns, layout.dOutput, rows, valueSize, valueSize, 1)
    const delta = layout.delta >> 2
    const from = tile.head * task.rows + tile.row
    floats.set(this.#delta.subarray(from, from + rows), delta)
    if (scaled)
      for (let r = 0; r < rows; r++) (floats[delta + r] as number) *= floats[(layout.rowFactors >> 2) + r] as number
    floats.fill(0, delta + rows, delta + roundUp(rows, 8))
    for (const row of without) floats[delta + row] = 0
  }
}

/** Rows of a tensor to row-major places: zeros up to the next group of 8, and where a row takes no part. */
export function loadRows(
  floats: Float32Array,
  to: { readonly at: number; readonly stride: number; readonly width: number },
  source: Float32Array,
  slice: Slice,
  { row, rows, without }: { readonly row: number; readonly rows: number; readonly without: readonly number[] },
): void {
  const { stride } = to
  const first = to.at >> 2
  copyIn(floats, first, stride, source, slice, row, rows, 0, to.width)
  if (rows % 8 !== 0) floats.fill(0, first + rows * stride, first + roundUp(rows, 8) * stride)
  for (const r of without) floats.fill(0, first + r * stride, first + (r + 1) * stride)
}

/** Columns that fill panels up are zeros for the whole task: nothing writes them. */
export function clearPadding(
  { floats }: Arena,
  layout: BackwardArena,
  { headSize, valueSize }: { readonly headSize: number; readonly valueSize: number },
): void {
  if (layout.headColumns !== headSize) floats.fill(0, layout.queryRows >> 2, layout.dOutputRows >> 2)
  if (layout.valueColumns !== valueSize) floats.fill(0, layout.dOutputRows >> 2, layout.dQuery >> 2)
}
