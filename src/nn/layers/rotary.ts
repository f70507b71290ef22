import { exactExp, exactLog } from '../../core/elementary.ts'
import { allocate } from '../../core/ledger.ts'
import { probeSharedMemory } from '../../core/shared-memory.ts'
import { exactCos, exactSin } from '../../core/sine.ts'
import { RowBuffer } from '../stage/buffers.ts'

/**
 * Rotary positions (Su et al. 2021): at position p the pair (x_c, x_{c + D/2}) of a head turns by p·base^(−2c/D). A table
 * holds the cosines [0, D/2) and sines [D/2, D) of each position.
 */
export class RotaryTable {
  #rows: RowBuffer | null = null

  constructor(
    readonly headSize: number,
    readonly base: number,
  ) {}

  /** A table of at least `rows` positions; it grows by doubling. */
  upTo(rows: number): RowBuffer {
    const known = this.#rows
    if (known !== null && known.rows >= rows) return known
    const length = Math.max(rows, 2 * (known?.rows ?? 0))
    this.#rows = new RowBuffer('rotary table', 1, length, this.headSize, rotaryTable(length, this.headSize, this.base))
    return this.#rows
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
