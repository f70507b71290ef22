import {
  rowRuns,
  type HeadSlice,
  type Register,
  type ResidentWeight,
  type RowRun,
  type RowStageTask,
  type RowStep,
} from '../../protocol/stage.ts'
import type { ArrayId, Slice, TaskArray } from '../../protocol/task.ts'
import type { RowKernels } from './stage-memory.ts'

/** A few rows of a task on their way through its steps. */
export interface Tile {
  readonly task: RowStageTask
  /** first row, counted from the task's first */
  readonly start: number
  readonly rows: number
  /** the tile's rows, sequence by sequence */
  readonly runs: readonly RowRun[]
  readonly kernels: RowKernels
  /** the lane's linear memory */
  readonly floats: Float32Array
  /** byte address of each register: [rows, width] */
  readonly registers: readonly number[]
  /** byte address of what steps need beside registers */
  readonly scratch: number
  readonly addressOf: (weight: ResidentWeight) => number
  readonly arrays: (id: ArrayId) => TaskArray
  /** arrays that go back with the result, by the step that fills them */
  readonly stored: ReadonlyMap<RowStep, Float32Array>
}

type StepOf<Op extends RowStep['op']> = Extract<RowStep, { op: Op }>

export function tileOf(parts: Omit<Tile, 'runs'>): Tile {
  return { ...parts, runs: rowRuns(parts.task, parts.start, parts.rows) }
}

export function widthOf(tile: Tile, register: Register): number {
  return tile.task.registers[register] ?? 0
}

/** The byte address of a register. */
export function addressOf(tile: Tile, register: Register): number {
  return tile.registers[register] ?? 0
}

/** The register's rows as a view of the lane's memory. */
export function viewOf(tile: Tile, register: Register): Float32Array {
  return floatsAt(tile, addressOf(tile, register), tile.rows * widthOf(tile, register))
}

function floatsAt({ floats }: Tile, address: number, count: number): Float32Array {
  return floats.subarray(address >> 2, (address >> 2) + count)
}

function placeOf({ offset, rowStride }: Slice, row: number): number {
  return offset + row * rowStride
}

export function loadTile({ to, from, byPosition }: StepOf<'load'>, tile: Tile): void {
  const width = widthOf(tile, to)
  const view = viewOf(tile, to)
  const array = tile.arrays(from.array) as Float32Array
  for (const { at, rows, row } of byPosition === undefined ? wholeTile(tile) : tile.runs) {
    const source = { array, start: placeOf(from, byPosition === undefined ? at : row), rowStride: from.rowStride }
    copyRows(source, view.subarray((at - tile.start) * width), width, rows)
  }
}

/** The tile as one piece, for slices that run on over the ends of sequences. */
function wholeTile({ start, rows }: Tile): Pick<RowRun, 'at' | 'rows' | 'row'>[] {
  return [{ at: start, rows, row: start }]
}

interface SourceRows {
  readonly array: Float32Array
  readonly start: number
  readonly rowStride: number
}

function copyRows({ array, start, rowStride }: SourceRows, view: Float32Array, width: number, rows: number): void {
  if (rowStride === width) {
    view.set(array.subarray(start, start + rows * width))
    return
  }
  for (let row = 0; row < rows; row++)
    view.set(array.subarray(start + row * rowStride, start + row * rowStride + width), row * width)
}

export function embedTile({ to, tokens, table, scale }: StepOf<'embed'>, tile: Tile): void {
  const width = widthOf(tile, to)
  const view = viewOf(tile, to)
  const numbers = tile.arrays(tokens.array)
  const rows = tile.arrays(table.array) as Float32Array
  for (let row = 0; row < tile.rows; row++) {
    const start = placeOf(table, numbers[placeOf(tokens, tile.start + row)] ?? 0)
    view.set(rows.subarray(start, start + width), row * width)
  }
  if (scale !== 1) for (let index = 0; index < view.length; index++) view[index] = (view[index] ?? 0) * scale
}

export function dropTile({ register, dropout }: StepOf<'drop'>, tile: Tile): void {
  const { threshold, keepScale, seedLow, seedHigh, site } = dropout
  const width = widthOf(tile, register)
  for (const { at, rows, row, batch } of tile.runs) {
    const address = addressOf(tile, register) + (at - tile.start) * width * 4
    tile.kernels.dropRows(address, rows, width, row, batch, site, threshold, keepScale, seedLow, seedHigh)
  }
}

export function rotateTile(
  { register, headSize, turned, table, byPosition, back }: StepOf<'rotate'>,
  tile: Tile,
): void {
  const width = widthOf(tile, register)
  const angles = tile.arrays(table.array) as Float32Array
  for (const { at, rows, row } of byPosition === undefined ? wholeTile(tile) : tile.runs) {
    const start = placeOf(table, byPosition === undefined ? at : row)
    copyRows(
      { array: angles, start, rowStride: table.rowStride },
      floatsAt(tile, tile.scratch, rows * turned),
      turned,
      rows,
    )
    const address = addressOf(tile, register) + (at - tile.start) * width * 4
    tile.kernels.rotateRows(address, rows, width, headSize, turned, tile.scratch, back === true ? -1 : 1)
  }
}

export function storeTile(step: StepOf<'store'>, tile: Tile): void {
  const width = widthOf(tile, step.from)
  const view = viewOf(tile, step.from)
  if (step.to === 'returned') {
    tile.stored.get(step)?.set(view, tile.start * width)
    return
  }
  const array = tile.arrays(step.to.array)
  if (step.to.rowStride === width) {
    array.set(view, placeOf(step.to, tile.start))
    return
  }
  for (let row = 0; row < tile.rows; row++)
    array.set(view.subarray(row * width, (row + 1) * width), placeOf(step.to, tile.start + row))
}

export function storeHeadsTile(step: StepOf<'store-heads'>, tile: Tile): void {
  const width = widthOf(tile, step.from)
  const headSize = width / step.heads
  const returned: HeadSlice = { array: 0, offset: 0, headStride: tile.task.rows * headSize, rowStride: headSize }
  const to = step.to === 'returned' ? returned : step.to
  const array = step.to === 'returned' ? tile.stored.get(step) : tile.arrays(to.array)
  for (const run of tile.runs) {
    const elements = run.rows * headSize
    tile.kernels.scatterHeads(
      addressOf(tile, step.from) + (run.at - tile.start) * width * 4,
      run.rows,
      step.heads,
      headSize,
      tile.scratch,
    )
    const first = headStart(to, run, tile.task.sequence !== undefined)
    for (let head = 0; head < step.heads; head++)
      array?.set(floatsAt(tile, tile.scratch + head * elements * 4, elements), first + head * to.headStride)
  }
}

export function loadHeadsTile({ to, heads, from, slots, slotStride }: StepOf<'load-heads'>, tile: Tile): void {
  const width = widthOf(tile, to)
  const headSize = width / heads
  const array = tile.arrays(from.array) as Float32Array
  for (const run of tile.runs) {
    const elements = run.rows * headSize
    const first = headStart(from, run, tile.task.sequence !== undefined)
    for (let slot = 0; slot < slots; slot++) {
      for (let head = 0; head < heads; head++) {
        const start = first + slot * slotStride + head * from.headStride
        floatsAt(tile, tile.scratch + head * elements * 4, elements).set(array.subarray(start, start + elements))
      }
      tile.kernels.gatherHeads(
        tile.scratch,
        run.rows,
        heads,
        headSize,
        addressOf(tile, to) + (run.at - tile.start) * width * 4,
        slot > 0,
      )
    }
  }
}

/** The place of a run's first row: a slice that crosses sequences is that of batch 0 and position 0. */
function headStart(
  { offset, batchStride = 0, rowStride, rowShifts }: HeadSlice,
  run: RowRun,
  crosses: boolean,
): number {
  if (!crosses) return offset + run.at * rowStride
  return offset + run.batch * batchStride + (run.row + (rowShifts?.[run.batch] ?? 0)) * rowStride
}

/** The rows in panels of `columns` columns, to their place in the slab. */
export function storeSlabTile({ from, to, columns }: StepOf<'store-slab'>, tile: Tile): void {
  const width = widthOf(tile, from)
  const { kernels, scratch, rows } = tile
  if (columns === 4) kernels.packQuads(addressOf(tile, from), rows, width, scratch, rows)
  else kernels.packPanels(addressOf(tile, from), rows, width, scratch, rows)
  const array = tile.arrays(to.array) as Float32Array
  const first = to.offset + ((tile.task.slabRow ?? 0) + tile.start) * columns
  const elements = rows * columns
  for (let panel = 0; panel * columns < width; panel++) {
    array.set(floatsAt(tile, scratch + panel * elements * 4, elements), first + panel * to.stride * columns)
  }
}

/** The sum of the tile's rows, to the tile's row of [tiles, width]; a slab's tiles are whole but for the last one. */
export function sumColumnsTile({ from, to }: StepOf<'sum-columns'>, tile: Tile, tileRows: number): void {
  const width = widthOf(tile, from)
  tile.kernels.sumColumns(addressOf(tile, from), tile.rows, width, tile.scratch)
  const place = ((tile.task.slabRow ?? 0) + tile.start) / tileRows
  ;(tile.arrays(to.array) as Float32Array).set(floatsAt(tile, tile.scratch, width), to.offset + place * width)
}

/** Targets of the tile's rows as words in scratch. Returns their address. */
export function targetsAt(targets: Slice, tile: Tile): number {
  const array = tile.arrays(targets.array)
  const words = new Int32Array(tile.floats.buffer, tile.scratch, tile.rows)
  for (let row = 0; row < tile.rows; row++) words[row] = array[placeOf(targets, tile.start + row)] ?? 0
  return tile.scratch
}

/** The same number for each row, in scratch behind the targets. Returns their address. */
export function factorsAt(factor: number, tile: Tile): number {
  const address = tile.scratch + tile.rows * 4
  floatsAt(tile, address, tile.rows).fill(factor)
  return address
}
