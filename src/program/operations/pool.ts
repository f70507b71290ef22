import { expected, checkInteger, checkOneOf } from '../../core/check.ts'
import { MOST_LARGEST_ROWS } from '../../core/largest-rows.ts'
import { resolveLayout } from '../../attention/layout.ts'
import { resolveOptions } from '../../attention/resolve-options.ts'
import type { Graph } from '../graph.ts'
import type { Value } from '../operation.ts'
import { attend } from './attend.ts'
import { maxRows } from './max-rows.ts'

/** How the rows of a segment become its vector: their mean, the first, the last, or the largest of each column. */
export type RowPooling = 'mean' | 'first' | 'last' | 'max'

export const ROW_POOLINGS: readonly RowPooling[] = ['mean', 'first', 'last', 'max']

/** Which rows belong together. */
export interface PoolSegments {
  /** S: how many vectors each sequence gives. @default 1 */
  readonly count?: number
  /** Int32 [B·M]: the segment of each row, from 0 to S − 1; rows of other numbers count nowhere. @default 0 for all */
  readonly numbers?: Int32Array
}

/** Keys of one vector register: their scores are all 0. */
const KEY_SIZE = 4

/**
 * Rows [B, M, W] to one vector per segment, [B, S, W]: their mean, one of them, or the largest of each column. A
 * segment without rows gives zeros.
 *
 * All but the largest is attention: with queries and keys of zeros all scores are 0, and the softmax spreads its weight
 * evenly over the rows that a segment allows. Where it allows one, that row comes out as it is. Gradients, WebGPU,
 * plans and the ways that rows travel are those of `attend`. The largest is the operation `max-rows`: the first row
 * that holds it gets its gradient, as with PyTorch's `max`.
 *
 * @param graph the graph that is built
 * @param from [B, M, W]
 * @param pooling mean, first or last row, or the largest of each column
 * @param segments how many segments there are, and the number of each row's; without them, all rows of a sequence
 *   are one
 * @throws {OptionError} for numbers that do not fit the rows, and for the largest of more than 2²⁴ rows
 */
export function pool(graph: Graph, from: Value, pooling: RowPooling, { count = 1, numbers }: PoolSegments = {}): Value {
  const { batch, rows, width } = from
  checkOneOf('pool: pooling', pooling, ROW_POOLINGS)
  checkInteger('pool: count', count, 1)
  if (numbers !== undefined && !(numbers instanceof Int32Array && numbers.length === batch * rows))
    throw expected('pool: numbers', `an Int32Array of ${batch * rows}, one per row`, numbers)
  if (pooling === 'max') {
    if (rows > MOST_LARGEST_ROWS) throw expected('pool: rows', `at most ${MOST_LARGEST_ROWS} for the largest`, rows)
    return maxRows(graph, from, numbers ?? new Int32Array(batch * rows), count)
  }
  const query = zeros(graph, 'pool queries', batch, count)
  const key = zeros(graph, 'pool keys', batch, rows)
  const layout = resolveLayout({
    query: [batch, 1, count, KEY_SIZE],
    key: [batch, 1, rows, KEY_SIZE],
    value: [batch, 1, rows, width],
  })
  const segments = {
    query: { data: Int32Array.from({ length: batch * count }, (_, at) => at % count), shape: [batch, count] },
    key: { data: countedRows(pooling, from, numbers), shape: [batch, rows] },
  }
  const attended = { query, key, value: from }
  return attend(graph, attended, { heads: 1, keyHeads: 1 }, resolveOptions({ segments }, layout)).context
}

function zeros(graph: Graph, name: string, batch: number, rows: number): Value {
  return graph.input(name, { batch, rows, width: KEY_SIZE }, new Float32Array(batch * rows * KEY_SIZE))
}

/** The number of a row that counts nowhere: no vector has it, as no vector has those beyond S. */
const NOWHERE = -1

/** Of each row: the segment that it counts in. */
function countedRows(
  pooling: Exclude<RowPooling, 'max'>,
  { batch, rows }: Value,
  numbers: Int32Array | undefined,
): Int32Array {
  const given = numbers?.slice() ?? new Int32Array(batch * rows)
  if (pooling === 'mean') return given
  const chosen = new Int32Array(batch * rows).fill(NOWHERE)
  for (let b = 0; b < batch; b++) {
    const seen = new Set<number>()
    for (let step = 0; step < rows; step++) {
      const at = b * rows + (pooling === 'first' ? step : rows - 1 - step)
      const number = given[at] ?? NOWHERE
      if (seen.has(number)) continue
      seen.add(number)
      chosen[at] = number
    }
  }
  return chosen
}
