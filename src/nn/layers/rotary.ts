import { allocate } from '../../core/ledger.ts'
import { probeSharedMemory } from '../../core/shared-memory.ts'
import { exactCos, exactSin } from '../../core/sine.ts'
import type { Graph } from '../../program/graph.ts'
import type { Value } from '../../program/operation.ts'
import { rotate } from '../../program/operations/positions.ts'
import {
  dependsOnLength,
  rotaryFrequencies,
  type ResolvedRotary,
  type RotaryFrequencies,
} from './rotary-frequencies.ts'

/** A table of angles, and the sequence length that it was made for. */
interface Table {
  readonly data: Float32Array
  readonly rows: number
  readonly length: number
}

/**
 * Rotary positions (Su et al. 2021): at position p the pair (x_c, x_{c + R/2}) of a head turns by p·frequency_c. A
 * table holds the cosines [0, R/2) and sines [R/2, R) of each position.
 */
export class RotaryTable {
  #table: Table | null = null

  constructor(
    readonly headSize: number,
    readonly options: ResolvedRotary,
  ) {}

  /**
   * The rows of `from`, every head turned by its position. @param length of the longest sequence. @default all rows so
   * far
   */
  build(graph: Graph, from: Value, length = graph.position + from.rows): Value {
    const { data, rows } = this.#upTo(graph.position + from.rows, length)
    if (graph.isRagged) return rotate(graph, from, this.#gathered(graph, from, data), this.headSize)
    const table = graph.input('rotary table', { batch: 1, rows, width: this.options.size }, data, {
      layout: 'positions',
    })
    return rotate(graph, from, table, this.headSize)
  }

  /** The table's rows at each sequence's own positions, [B, M, R]. */
  #gathered(graph: Graph, { batch, rows }: Value, table: Float32Array): Value {
    const { size } = this.options
    const gathered = new Float32Array(
      allocate('rotary positions', batch * rows * size * 4, probeSharedMemory().available),
    )
    graph.positions.forEach((position, b) =>
      gathered.set(table.subarray(position * size, (position + rows) * size), b * rows * size),
    )
    return graph.input('rotary positions', { batch, rows, width: size }, gathered)
  }

  /** A table of at least `rows` positions; it grows by doubling. */
  #upTo(rows: number, length: number): Table {
    const known = this.#table
    const fits = known !== null && (known.length === length || !dependsOnLength(this.options))
    if (fits && known.rows >= rows) return known
    const room = Math.max(rows, fits ? 2 * known.rows : 0)
    this.#table = {
      data: rotaryTable(room, this.options.size, rotaryFrequencies(this.options, length)),
      rows: room,
      length,
    }
    return this.#table
  }
}

function rotaryTable(rows: number, size: number, { frequencies, amplitude }: RotaryFrequencies): Float32Array {
  const table = new Float32Array(allocate('rotary table', rows * size * 4, probeSharedMemory().available))
  const half = size / 2
  frequencies.forEach((frequency, c) => {
    for (let row = 0; row < rows; row++) {
      table[row * size + c] = amplitude * exactCos(row * frequency)
      table[row * size + half + c] = amplitude * exactSin(row * frequency)
    }
  })
  return table
}
