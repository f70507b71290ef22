import type { Slice, TaskArray } from '../../protocol/task.ts'

/** Copies between tensors and the arena. Indices and strides are in elements. */

/* eslint-disable max-params -- places and counts by position, as kernels take them: a tile makes many such copies */

/** target[at + r·targetStride + c] = source row firstRow + r, column firstColumn + c. */
export function copyIn<Data extends TaskArray>(
  target: Data,
  at: number,
  targetStride: number,
  source: Data,
  slice: Slice,
  firstRow: number,
  rows: number,
  firstColumn: number,
  columns: number,
): void {
  const { rowStride, columnStride = 1 } = slice
  const from = slice.offset + firstRow * rowStride + firstColumn * columnStride
  if (columnStride === 1 && rowStride === columns && targetStride === columns) {
    target.set(source.subarray(from, from + rows * columns), at)
    return
  }
  for (let r = 0; r < rows; r++)
    copyRow(target, at + r * targetStride, source, from + r * rowStride, columnStride, columns)
}

function copyRow<Data extends TaskArray>(
  target: Data,
  at: number,
  source: Data,
  from: number,
  columnStride: number,
  columns: number,
): void {
  if (columnStride === 1 && columns > 16) {
    target.set(source.subarray(from, from + columns), at)
  } else {
    for (let c = 0; c < columns; c++) target[at + c] = source[from + c * columnStride] as number
  }
}

/** The other way: destination row firstRow + r, column firstColumn + c = source[at + r·sourceStride + c]. */
export function copyOut(
  source: Float32Array,
  at: number,
  sourceStride: number,
  destination: Float32Array,
  slice: Omit<Slice, 'array'>,
  firstRow: number,
  rows: number,
  firstColumn: number,
  columns: number,
): void {
  const { rowStride, columnStride = 1 } = slice
  const to = slice.offset + firstRow * rowStride + firstColumn * columnStride
  if (columnStride === 1 && rowStride === columns && sourceStride === columns) {
    destination.set(source.subarray(at, at + rows * columns), to)
    return
  }
  for (let r = 0; r < rows; r++) {
    const row = to + r * rowStride
    const from = at + r * sourceStride
    if (columnStride === 1 && columns > 16) destination.set(source.subarray(from, from + columns), row)
    else for (let c = 0; c < columns; c++) destination[row + c * columnStride] = source[from + c] as number
  }
}
