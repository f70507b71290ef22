import { expected } from '../core/check.ts'
import { ShapeError } from '../core/errors.ts'
import { allocate } from '../core/ledger.ts'
import { formatShape, readTensor, type Tensor } from '../core/tensor.ts'
import type { AttentionSizes } from '../plan/attention-sizes.ts'
import type { ScoreStrides } from './broadcast.ts'

/** A bias as kernels read it: element (b, h, i, j) stands where the strides say. */
export interface ResolvedBias {
  readonly data: Float32Array
  readonly strides: ScoreStrides
  /** [H or 1, 2·most + 1], what a bias by distance was made of; null for one that was given pair by pair */
  readonly table: Tensor | null
}

type Sizes = Pick<AttentionSizes, 'heads' | 'queries' | 'keys'>

/**
 * A bias by distance as a bias over the scores: a row of M + N − 1 numbers per head, of which each query row reads N
 * from one place further left than the row before it. So kernels find a matrix, and memory holds M + N numbers.
 *
 * @param given [2·most + 1] or [H or 1, 2·most + 1]
 * @param queryOffset one entry per batch, or a single entry for all of them
 * @throws {ShapeError} for another shape
 * @throws {MemoryBudgetError} when the engine refuses the allocation
 */
export function resolveRelativeBias(given: Tensor, sizes: Sizes, queryOffset: readonly number[]): ResolvedBias {
  const table = readTable(given, sizes)
  const layout = layoutOf(table, sizes, queryOffset)
  const { distances, tables, batches, most } = layout
  const data = new Float32Array(allocate('relative bias', 4 * batches * tables * distances, false))
  for (let row = 0; row < batches * tables; row++) {
    const from = (row % tables) * (2 * most + 1)
    for (let at = 0; at < distances; at++)
      data[row * distances + at] = table.data[from + placeOf(layout, Math.floor(row / tables), at)] ?? 0
  }
  const head = tables === 1 ? 0 : distances
  const batch = batches === 1 ? 0 : tables * distances
  return { data, strides: { batch, head, row: -1, column: 1, start: sizes.queries - 1 }, table }
}

/** The gradient of the table from that of `data`, in float64. */
export function foldRelativeBias(
  gradient: Float32Array,
  table: Tensor,
  sizes: Sizes,
  queryOffset: readonly number[],
): Float32Array {
  const layout = layoutOf(table, sizes, queryOffset)
  const { distances, tables, batches, most } = layout
  const sums = new Float64Array(table.data.length)
  for (let row = 0; row < batches * tables; row++) {
    const to = (row % tables) * (2 * most + 1)
    for (let at = 0; at < distances; at++) {
      const place = to + placeOf(layout, Math.floor(row / tables), at)
      sums[place] = (sums[place] ?? 0) + (gradient[row * distances + at] ?? 0)
    }
  }
  return Float32Array.from(sums)
}

function readTable(given: Tensor, { heads }: Sizes): Tensor {
  const what = 'attention: option relativeBias'
  const { data, shape } = readTensor(what, Float32Array, given)
  const [tables, width = 0] = shape.length === 1 ? [1, shape[0]] : shape
  if (shape.length < 1 || shape.length > 2 || (tables !== 1 && tables !== heads) || width % 2 === 0)
    throw new ShapeError(
      `${what}: expected [${heads}, 2·most + 1] or [1, 2·most + 1], an odd number per head, got ${formatShape(shape)}`,
    )
  return { data, shape }
}

/** A bias may be given in one way. @throws {OptionError} */
export function refuseTwoBiases(options: { readonly bias?: unknown; readonly relativeBias?: unknown }): void {
  if (options.bias !== undefined && options.relativeBias !== undefined)
    throw expected('attention: options', 'bias or relativeBias', 'both')
}

interface TableLayout {
  /** the largest distance that has a number of its own */
  readonly most: number
  readonly tables: number
  readonly batches: number
  /** how many distances there are: M + N − 1 */
  readonly distances: number
  /** of each batch: the first of its distances */
  readonly first: readonly number[]
}

function layoutOf({ data, shape }: Tensor, { queries, keys }: Sizes, queryOffset: readonly number[]): TableLayout {
  const tables = shape.length === 1 ? 1 : (shape[0] ?? 1)
  return {
    most: (data.length / tables - 1) / 2,
    tables,
    batches: Math.max(1, queryOffset.length),
    distances: Math.max(0, queries + keys - 1),
    first: queryOffset.map((offset) => 1 - queries - offset),
  }
}

/** Where the number of a batch's distance `at` stands in the table. */
function placeOf({ most, first }: TableLayout, batch: number, at: number): number {
  return Math.min(most, Math.max(-most, (first[batch] ?? 0) + at)) + most
}
