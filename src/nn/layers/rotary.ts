import { exactExp, exactLog } from '../../core/elementary.ts'
import { allocate } from '../../core/ledger.ts'
import { probeSharedMemory } from '../../core/shared-memory.ts'
import { exactCos, exactSin } from '../../core/sine.ts'
import type { Graph } from '../../program/graph.ts'
import type { Value } from '../../program/operation.ts'
import { rotate } from '../../program/operations/positions.ts'

/**
 * Rotary positions (Su et al. 2021): at position p the pair (x_c, x_{c + D/2}) of a head turns by p·base^(−2c/D). A table
 * holds the cosines [0, D/2) and sines [D/2, D) of each position.
 */
export class RotaryTable {
  #table: { readonly data: Float32Array; readonly rows: number } | null = null

  constructor(
    readonly headSize: number,
    readonly base: number,
  ) {}

  /** The rows of `from`, every head turned by its position. */
  build(graph: Graph, from: Value): Value {
    const { data, rows } = this.#upTo(graph.position + from.rows)
    if (graph.isRagged) return rotate(graph, from, this.#gathered(graph, from, data))
    const table = graph.input('rotary table', { batch: 1, rows, width: this.headSize }, data, { layout: 'positions' })
    return rotate(graph, from, table)
  }

  /** The table's rows at each sequence's own positions, [B, M, D]. */
  #gathered(graph: Graph, { batch, rows }: Value, table: Float32Array): Value {
    const size = this.headSize
    const gathered = new Float32Array(allocate('rotary positions', batch * rows * size * 4, probeSharedMemory().available))
    graph.positions.forEach((position, b) => gathered.set(table.subarray(position * size, (position + rows) * size), b * rows * size))
    return graph.input('rotary positions', { batch, rows, width: size }, gathered)
  }

  /** A table of at least `rows` positions; it grows by doubling. */
  #upTo(rows: number): { readonly data: Float32Array; readonly rows: number } {
    const known = this.#table
    if (known !== null && known.rows >= rows) return known
    const length = Math.max(rows, 2 * (known?.rows ?? 0))
    this.#table = { data: rotaryTable(length, this.headSize, this.base), rows: length }
    return this.#table
  }
}

function rotaryTable(rows: number, headSize: number, base: number): Float32Array {
  const table = new Float32Array(allocate('rotary table', rows * headSize * 4, probeSharedMemory().available))
  const half = headSize / 2
  for (let c = 0; c < half; c++) {
    const frequency = exactExp((-2 * c * exactLog(base)) / headSize)
    for (let row = 0; row < rows; row++) {
      table[row * headSize + c] = exactCos(row * frequency)
      table[row * headSize + half + c] = exactSin(row * frequency)
    }
  }
  return table
}
