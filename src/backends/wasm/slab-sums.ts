import { roundUp } from '../../core/integers.ts'
import type { SlabSlice } from '../../protocol/stage.ts'
import type { SumTask } from '../../protocol/sums.ts'
import type { ArrayId, TaskArray } from '../../protocol/task.ts'
import { STAGE_TILE_ROWS } from '../../plan/stage-arena.ts'
import type { StageMemory } from './stage-memory.ts'

type TaskOf<Op extends SumTask['op']> = Extract<SumTask, { op: Op }>
type ArrayOf = (id: ArrayId) => TaskArray

/**
 * sums[o][i] += Σ_r dy[r][o]·x[r][i]: operands and the sums themselves go through the lane's memory, at byte `scratch`.
 */
export function sumOuter(
  memory: StageMemory,
  scratch: number,
  { quads, panels, outSize, inSize, sums }: TaskOf<'outer'>,
  rows: number,
  arrayOf: ArrayOf,
): void {
  const { floats, kernels } = memory
  const quadsAt = scratch
  const panelsAt = quadsAt + roundUp(roundUp(outSize, 4) * rows * 4, 16)
  const sumsAt = panelsAt + roundUp(inSize, 8) * rows * 4
  const productsAt = sumsAt + roundUp(outSize * inSize * 4, 16)
  copyPanels(floats, quadsAt, arrayOf(quads.array) as Float32Array, quads, {
    columns: 4,
    panels: Math.ceil(outSize / 4),
    rows,
  })
  copyPanels(floats, panelsAt, arrayOf(panels.array) as Float32Array, panels, {
    columns: 8,
    panels: Math.ceil(inSize / 8),
    rows,
  })
  const target = arrayOf(sums.array) as Float32Array
  const view = floats.subarray(sumsAt >> 2, (sumsAt >> 2) + outSize * inSize)
  view.set(target.subarray(sums.offset, sums.offset + outSize * inSize))
  kernels.outerRows(quadsAt, panelsAt, rows, outSize, inSize, sumsAt, productsAt)
  target.set(view, sums.offset)
}

function copyPanels(
  floats: Float32Array,
  to: number,
  source: Float32Array,
  { offset, stride }: SlabSlice,
  size: { readonly columns: number; readonly panels: number; readonly rows: number },
): void {
  const { columns, panels, rows } = size
  if (stride === rows) {
    floats.set(source.subarray(offset, offset + panels * rows * columns), to >> 2)
    return
  }
  for (let panel = 0; panel < panels; panel++) {
    const start = offset + panel * stride * columns
    floats.set(source.subarray(start, start + rows * columns), (to >> 2) + panel * rows * columns)
  }
}

/** Adds the tiles' rows one after the other. */
export function sumTiles({ partials, width, sums }: TaskOf<'columns'>, rows: number, arrayOf: ArrayOf): void {
  const source = arrayOf(partials.array) as Float32Array
  const target = arrayOf(sums.array) as Float32Array
  const tiles = Math.ceil(rows / STAGE_TILE_ROWS)
  for (let tile = 0; tile < tiles; tile++) {
    const start = partials.offset + tile * width
    for (let c = 0; c < width; c++) target[sums.offset + c] = (target[sums.offset + c] ?? 0) + (source[start + c] ?? 0)
  }
}

/** Adds rows to the rows of a table that their tokens name, in row order. */
export function sumTable(
  { tokens, values, columnStart, columnEnd, scale, sums }: TaskOf<'table'>,
  rows: number,
  arrayOf: ArrayOf,
): void {
  const source = arrayOf(values.array) as Float32Array
  const target = arrayOf(sums.array) as Float32Array
  const numbers = 'array' in tokens ? arrayOf(tokens.array) : null
  for (let row = 0; row < rows; row++) {
    const place =
      'array' in tokens
        ? (numbers?.[tokens.offset + row * tokens.rowStride] ?? 0)
        : tokens.position + (row % tokens.sequence)
    const from = values.offset + row * values.rowStride
    const to = sums.offset + place * sums.rowStride
    for (let c = columnStart; c < columnEnd; c++)
      target[to + c] = (target[to + c] ?? 0) + scale * (source[from + c] ?? 0)
  }
}
