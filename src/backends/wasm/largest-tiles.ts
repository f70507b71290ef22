import { NO_ROW, takeLarger } from '../../core/largest-rows.ts'
import type { BatchSlice, RowRun, RowStep } from '../../protocol/stage.ts'
import { viewOf, widthOf, type Tile } from './stage-tiles.ts'

type StepOf<Op extends RowStep['op']> = Extract<RowStep, { op: Op }>

/**
 * The largest of each column over the rows of each segment. Rows are read where they are stored, once: a comparison
 * per element costs less than a copy into the lane's memory.
 */
export function maxRowsTile({ rows, segments, sequence, to, places }: StepOf<'max-rows'>, tile: Tile): void {
  const width = widthOf(tile, to)
  const [largest, indices] = [viewOf(tile, to).fill(0), viewOf(tile, places).fill(NO_ROW)]
  const source = tile.arrays(rows.array) as Float32Array
  const numbers = tile.arrays(segments.array)
  for (const run of tile.runs) {
    const kept = Array.from({ length: run.rows }, (_, index) => {
      const start = (run.at - tile.start + index) * width
      return { values: largest.subarray(start, start + width), places: indices.subarray(start, start + width) }
    })
    for (let row = 0; row < sequence; row++) {
      const own = kept[(numbers[startOf(segments, run, row)] ?? NO_ROW) - run.row]
      const start = startOf(rows, run, row)
      if (own !== undefined) takeLarger(own, source.subarray(start, start + width), row)
    }
  }
}

/** Each element's gradient goes to the row that it came from. */
export function maxRowsBackwardTile(
  { dLargest, places, count, segments, to }: StepOf<'max-rows-backward'>,
  tile: Tile,
): void {
  const width = widthOf(tile, to)
  const view = viewOf(tile, to).fill(0)
  const [gradients, indices] = [tile.arrays(dLargest.array), tile.arrays(places.array)]
  const numbers = tile.arrays(segments.array)
  for (const run of tile.runs) {
    for (let index = 0; index < run.rows; index++) {
      const segment = numbers[segments.offset + (run.at + index) * segments.rowStride] ?? NO_ROW
      if (segment < 0 || segment >= count) continue
      const [from, place] = [startOf(dLargest, run, segment), startOf(places, run, segment)]
      const start = (run.at - tile.start + index) * width
      for (let c = 0; c < width; c++)
        if (indices[place + c] === run.row + index) view[start + c] = gradients[from + c] ?? 0
    }
  }
}

function startOf({ offset, batchStride, rowStride }: BatchSlice, { batch }: RowRun, row: number): number {
  return offset + batch * batchStride + row * rowStride
}
