import type { Slice, TaskArray } from '../../protocol/task.ts'

/** Which rows of a slice: a run of neighbours, or chosen ones. */
export type RowSet =
  { readonly first: number; readonly count: number } | { readonly places: Int32Array; readonly count: number }

/** The row's place among the slice's rows. */
export function placeOf(rows: RowSet, index: number): number {
  return 'places' in rows ? (rows.places[index] as number) : rows.first + index
}

interface Columns {
  readonly first: number
  readonly count: number
}

/** Rows as a buffer holds them: row-major, `stride` elements from one to the next. */
export interface PackedRows {
  readonly data: TaskArray
  readonly stride: number
}

/** Copies rows × columns of a slice into `packed`, whose padding stays as it is. */
export function packRows(source: TaskArray, slice: Slice, rows: RowSet, columns: Columns, packed: PackedRows): void {
  const { data: target, stride: targetStride } = packed
  const step = slice.columnStride ?? 1
  const start = slice.offset + columns.first * step
  const dense = step === 1 && slice.rowStride === columns.count && targetStride === columns.count
  if (dense && 'first' in rows) {
    const from = start + rows.first * slice.rowStride
    target.set(source.subarray(from, from + rows.count * columns.count))
    return
  }
  for (let row = 0; row < rows.count; row++) {
    const from = start + placeOf(rows, row) * slice.rowStride
    const to = row * targetStride
    if (step === 1) target.set(source.subarray(from, from + columns.count), to)
    else if (step === 0) target.fill(source[from] as number, to, to + columns.count)
    else
      for (let column = 0; column < columns.count; column++)
        target[to + column] = source[from + column * step] as number
  }
}

/** Copies dense rows to where a slice says; the reverse of `packRows`. */
export function unpackRows(packed: PackedRows, target: TaskArray, slice: Slice, rows: RowSet, columns: Columns): void {
  const { data: source, stride: sourceStride } = packed
  const step = slice.columnStride ?? 1
  for (let row = 0; row < rows.count; row++) {
    const to = slice.offset + placeOf(rows, row) * slice.rowStride + columns.first * step
    const from = row * sourceStride
    if (step === 1) target.set(source.subarray(from, from + columns.count), to)
    else
      for (let column = 0; column < columns.count; column++)
        target[to + column * step] = source[from + column] as number
  }
}
