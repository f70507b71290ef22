import type { AttentionArena } from '../../plan/arena.ts'
import type { AttentionTask } from '../../protocol/task.ts'
import type { Arena } from './arena.ts'
import { copyIn, copyOut } from './copy-rows.ts'
import type { KeyBlock } from './key-blocks.ts'
import type { QueryTile } from './query-tiles.ts'
import type { Sink } from './task-results.ts'

/** Rows of a tile that have a row in the matrix of weights. */
export interface MatrixTile extends QueryTile {
  /** row of the tile → row of the matrix */
  readonly places: readonly { readonly row: number; readonly to: number }[]
}

/** The matrix of weights (in standard mode of scores before), block by block. */
export class MatrixRows {
  constructor(
    private readonly arena: Arena,
    private readonly layout: AttentionArena,
    private readonly sink: Sink,
  ) {}

  /** The block's columns from the arena's rows to the matrix. */
  write({ places }: MatrixTile, { start, keys }: KeyBlock): void {
    const {
      arena: { floats },
      layout: { transfer, blockRows },
      sink: { array, slice },
    } = this
    for (const { row, to } of places)
      copyOut(floats, (transfer >> 2) + row * blockRows, blockRows, array, slice, to, 1, start, keys)
  }

  /** The other way. */
  read({ places }: MatrixTile, { start, keys }: KeyBlock): void {
    const {
      arena: { floats },
      layout: { transfer, blockRows },
      sink: { array, slice },
    } = this
    for (const { row, to } of places)
      copyIn(floats, (transfer >> 2) + row * blockRows, blockRows, array, { array: 0, ...slice }, to, 1, start, keys)
  }

  /** Zeros: no query of the tile sees a key of the block. */
  clear({ places }: MatrixTile, { start, keys }: KeyBlock): void {
    const {
      array,
      slice: { offset, rowStride, columnStride = 1 },
    } = this.sink
    for (const { to } of places) {
      const at = offset + to * rowStride + start * columnStride
      if (columnStride === 1) array.fill(0, at, at + keys)
      else for (let c = 0; c < keys; c++) array[at + c * columnStride] = 0
    }
  }
}

/** Every row of each tile, at its own place: standard mode. */
export function allRows(tiles: readonly QueryTile[], passStart: number): MatrixTile[] {
  return tiles.map((tile) => ({
    ...tile,
    places: Array.from({ length: tile.rows }, (_, row) => ({ row, to: passStart + tile.row + row })),
  }))
}

/**
 * The groups of 8 rows that hold some of the task's `weightRows`; rows stand in the matrix in the order of that list.
 */
export function chosenRows(
  task: AttentionTask,
  tiles: readonly QueryTile[],
  passStart: number,
  passRows: number,
): MatrixTile[] {
  const groups = new Map<number, { row: number; to: number }[]>()
  task.weightRows?.forEach((chosen, to) => {
    const row = chosen - passStart
    if (row < 0 || row >= passRows) return
    const places = groups.get(row >> 3) ?? []
    places.push({ row: row & 7, to })
    groups.set(row >> 3, places)
  })
  return [...groups].map(([group, places]) => {
    const row = group * 8
    const tile = tiles.findLast((candidate) => candidate.row <= row)
    return { row, rows: Math.min(8, passRows - row), flags: tile?.flags ?? 0, segments: tile?.segments, places }
  })
}
