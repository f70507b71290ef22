import { rowRuns, type Register, type RowRun, type RowStageTask, type RowStep } from '../../protocol/stage.ts'
import type { ArrayId, Slice, TaskArray } from '../../protocol/task.ts'

/** A few rows of a task on their way through its steps. */
export interface Tile {
  readonly task: RowStageTask
  /** first row, counted from the task's first */
  readonly start: number
  readonly rows: number
  /** the tile's rows, sequence by sequence */
  readonly runs: readonly RowRun[]
  /** the lane's linear memory */
  readonly floats: Float32Array
  /** byte address of each register: [rows, width] */
  readonly registers: readonly number[]
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

/** The register's rows as a view of the lane's memory. */
export function viewOf(tile: Tile, register: Register): Float32Array {
  const start = (tile.registers[register] ?? 0) >> 2
  return tile.floats.subarray(start, start + tile.rows * widthOf(tile, register))
}

function placeOf({ offset, rowStride }: Slice, row: number): number {
  return offset + row * rowStride
}

export function loadTile({ to, from, byPosition }: StepOf<'load'>, tile: Tile): void {
  const width = widthOf(tile, to)
  const view = viewOf(tile, to)
  const array = tile.arrays(from.array) as Float32Array
  for (const { at, rows, row } of byPosition === undefined ? wholeTile(tile) : tile.runs) {
    copyRows(array, placeOf(from, byPosition === undefined ? at : row), from.rowStride, view.subarray((at - tile.start) * width), width, rows)
  }
}

/** The tile as one piece, for slices that run on over the ends of sequences. */
function wholeTile({ start, rows }: Tile): { at: number; rows: number; row: number }[] {
  return [{ at: start, rows, row: start }]
}

function copyRows(array: Float32Array, start: number, rowStride: number, view: Float32Array, width: number, rows: number): void {
  if (rowStride === width) {
    view.set(array.subarray(start, start + rows * width))
    return
  }
  for (let row = 0; row < rows; row++) view.set(array.subarray(start + row * rowStride, start + row * rowStride + width), row * width)
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

/** (x_c, x_{c + D/2}) → (x_c·cos − x_{c + D/2}·sin, x_{c + D/2}·cos + x_c·sin), for every head of every row. */
export function rotateTile({ register, headSize, table, byPosition }: StepOf<'rotate'>, tile: Tile): void {
  const width = widthOf(tile, register)
  const view = viewOf(tile, register)
  const angles = tile.arrays(table.array)
  for (const run of byPosition === undefined ? wholeTile(tile) : tile.runs) {
    for (let row = 0; row < run.rows; row++) {
      const angle = placeOf(table, (byPosition === undefined ? run.at : run.row) + row)
      const start = (run.at - tile.start + row) * width
      for (let head = start; head < start + width; head += headSize) rotateHead(view, head, headSize / 2, angles, angle)
    }
  }
}

function rotateHead(view: Float32Array, head: number, half: number, angles: TaskArray, angle: number): void {
  for (let c = 0; c < half; c++) {
    const [cosine, sine] = [angles[angle + c] ?? 0, angles[angle + half + c] ?? 0]
    const [first, second] = [view[head + c] ?? 0, view[head + half + c] ?? 0]
    view[head + c] = Math.fround(first * cosine) - Math.fround(second * sine)
    view[head + half + c] = Math.fround(second * cosine) + Math.fround(first * sine)
  }
}

/** to = to ∘ from */
export function multiplyTile({ from, to }: StepOf<'multiply'>, tile: Tile): void {
  const [factors, view] = [viewOf(tile, from), viewOf(tile, to)]
  for (let index = 0; index < view.length; index++) view[index] = (view[index] ?? 0) * (factors[index] ?? 0)
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
  for (let row = 0; row < tile.rows; row++) array.set(view.subarray(row * width, (row + 1) * width), placeOf(step.to, tile.start + row))
}

export function storeHeadsTile(step: StepOf<'store-heads'>, tile: Tile): void {
  const width = widthOf(tile, step.from)
  const headSize = width / step.heads
  const returned = tile.stored.get(step)
  const { array, offset, batchStride = 0, headStride, rowStride } =
    step.to === 'returned' ? { array: returned, offset: 0, headStride: tile.task.rows * headSize, rowStride: headSize } : { ...step.to, array: tile.arrays(step.to.array) }
  const view = viewOf(tile, step.from)
  const crosses = tile.task.sequence !== undefined
  for (const run of tile.runs) {
    const first = offset + (crosses ? run.batch * batchStride + run.row * rowStride : run.at * rowStride)
    for (let head = 0; head < step.heads; head++) {
      for (let row = 0; row < run.rows; row++) {
        const start = (run.at - tile.start + row) * width + head * headSize
        array?.set(view.subarray(start, start + headSize), first + head * headStride + row * rowStride)
      }
    }
  }
}
