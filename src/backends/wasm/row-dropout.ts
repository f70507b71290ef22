import { philoxWords } from '../../core/philox.ts'
import type { RowStep } from '../../protocol/stage.ts'
import { viewOf, widthOf, type Tile } from './stage-tiles.ts'

/** Drops elements by counter: the same for any chunk, tile or lane. */
export function dropRows({ register, dropout }: Extract<RowStep, { op: 'drop' }>, tile: Tile): void {
  const { threshold, keepScale, site } = dropout
  const width = widthOf(tile, register)
  const view = viewOf(tile, register)
  const words = new Uint32Array(4)
  for (const run of tile.runs) {
    for (let row = 0; row < run.rows; row++) {
      const start = (run.at - tile.start + row) * width
      for (let column = 0; column < width; column++) {
        if ((column & 3) === 0) philoxWords(words, dropout, column >> 2, run.row + row, run.batch, site)
        view[start + column] = (words[column & 3] ?? 0) >= threshold ? (view[start + column] ?? 0) * keepScale : 0
      }
    }
  }
}
