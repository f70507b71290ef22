import { noLargestRows, takeLarger } from '../core/largest-rows.ts'
import { ROW_POOLINGS, type RowPooling } from '../program/operations/pool.ts'

/** How the rows of a text become one vector: as in the graph. */
export type Pooling = RowPooling

export const POOLINGS: readonly Pooling[] = ROW_POOLINGS

/**
 * One vector out of some rows: their mean, their largest element by element, or one of them.
 * Sums are in float64, in the order of the rows.
 *
 * @param rows `[.., width]`, of which those from `from` up to `to` count
 * @param width elements per row
 * @param pooling how they become one
 * @param range which rows count
 * @returns [width], new, the caller's
 *
 * @example
 * ```js
 * import { poolRows } from 'heddle/models'
 *
 * const rows = Float32Array.of(1, 2, 3, 4, 5, 6) // three rows of two
 * console.log([...poolRows(rows, 2, { from: 1, to: 3 }, 'mean')]) // [ 4, 5 ]
 * ```
 */
export function poolRows(
  rows: Float32Array,
  width: number,
  {
    from,
    to,
  }: {
    /** the first row */
    readonly from: number
    /** one past the last row */
    readonly to: number
  },
  pooling: Pooling,
): Float32Array {
  if (pooling === 'first') return rows.slice(from * width, (from + 1) * width)
  if (pooling === 'last') return rows.slice((to - 1) * width, to * width)
  if (pooling === 'max')
    return largestOf(
      width,
      Array.from({ length: to - from }, (_, row) => rows.subarray((from + row) * width, (from + row + 1) * width)),
    )
  const sums = new Float64Array(width)
  for (let row = from; row < to; row++)
    for (let c = 0; c < width; c++) sums[c] = (sums[c] ?? 0) + (rows[row * width + c] ?? 0)
  return Float32Array.from(sums, (sum) => sum / (to - from))
}

function largestOf(width: number, rows: readonly Float32Array[]): Float32Array {
  const largest = noLargestRows(width)
  rows.forEach((row, index) => takeLarger(largest, row, index))
  return largest.values
}

/**
 * Divides a vector by its length, in place; one of length 0 stays.
 *
 * @param vector of any length; it is changed
 */
export function normalise(vector: Float32Array): Float32Array {
  let squares = 0
  for (const value of vector) squares += value * value
  if (squares === 0) return vector
  const length = Math.sqrt(squares)
  for (let c = 0; c < vector.length; c++) vector[c] = (vector[c] ?? 0) / length
  return vector
}

/**
 * The vectors of a text's pieces as one: by their numbers of rows, or the largest; 'first' and 'last' take that
 * piece's.
 */
export function joinPieces(
  pieces: readonly { readonly vector: Float32Array; readonly rows: number }[],
  pooling: Pooling,
): Float32Array {
  const [first] = pieces
  const last = pieces.at(-1)
  if (first === undefined || last === undefined) throw new RangeError('pooling: expected pieces, got none')
  if (pieces.length === 1 || pooling === 'first') return first.vector
  if (pooling === 'last') return last.vector
  if (pooling === 'max')
    return largestOf(
      first.vector.length,
      pieces.map(({ vector }) => vector),
    )
  const rows = pieces.reduce((sum, piece) => sum + piece.rows, 0)
  return first.vector.map((_, c) => pieces.reduce((sum, piece) => sum + piece.rows * (piece.vector[c] ?? 0), 0) / rows)
}
