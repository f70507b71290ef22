import {
  FLAG_EXTREME_SCORES,
  P_COUNTER_ROW,
  P_FLAGS,
  P_OUTPUT,
  P_QUERY,
  P_QUERY_SEGMENTS,
  P_ROWS,
  P_STATE,
  STATE_BYTES,
  TILE_ROWS,
} from '../../../assembly/abi.ts'
import { roundUp } from '../../core/integers.ts'
import type { AttentionArena } from '../../plan/arena.ts'
import type { AttentionTask } from '../../protocol/task.ts'
import type { TaskContext } from '../backend.ts'
import type { Arena } from './arena.ts'
import { copyIn } from './copy-rows.ts'
import type { KeyBlock } from './key-blocks.ts'
import { loadScoreInputs, setBand } from './score-inputs.ts'
import { areDisjoint, bandOf, isEmpty, segmentRange, type Band, type SegmentRange } from './visibility.ts'

/** Up to 64 query rows of one pass. */
export interface QueryTile {
  /** counted in the pass; a multiple of 8 */
  readonly row: number
  readonly rows: number
  /** FLAG_EXTREME_SCORES where the queries say so */
  readonly flags: number
  readonly segments: SegmentRange | undefined
}

/** One pass's queries in the arena, and the kernel calls over them. */
export class QueryTiles {
  readonly #passStart: number
  readonly #taskFlags: number

  /** @param passStart the pass's first row, counted in the task */
  constructor(
    private readonly arena: Arena,
    private readonly layout: AttentionArena,
    private readonly task: AttentionTask,
    private readonly context: TaskContext,
    /** the task's FLAG_… */
    { passStart, flags }: { readonly passStart: number; readonly flags: number },
  ) {
    this.#passStart = passStart
    this.#taskFlags = flags
  }

  /** Packs the pass's queries, times `factor`, and clears their states. */
  load(rows: number, factor: number): QueryTile[] {
    const {
      arena,
      layout,
      task: {
        settings: { valueSize },
      },
    } = this
    arena.kernels.resetGroups(layout.state, layout.output, Math.ceil(rows / 8), valueSize)
    const tiles: QueryTile[] = []
    for (let row = 0; row < rows; row += TILE_ROWS) tiles.push(this.#load(row, Math.min(TILE_ROWS, rows - row), factor))
    return tiles
  }

  #load(row: number, rows: number, factor: number): QueryTile {
    const { arena, layout, task } = this
    const passStart = this.#passStart
    const {
      query,
      querySegments,
      settings: { headSize },
    } = task
    copyIn(
      arena.floats,
      layout.transfer >> 2,
      headSize,
      this.context.array(query.array) as Float32Array,
      query,
      passStart + row,
      rows,
      0,
      headSize,
    )
    const packed = layout.query + row * headSize * 4
    arena.kernels.packLanes(layout.transfer, headSize, packed, rows, headSize, headSize, factor)
    const extreme = arena.kernels.hasExtremes(packed, Math.ceil(rows / 8) * 8 * headSize) !== 0
    let segments: SegmentRange | undefined
    if (querySegments !== undefined) {
      const at = (layout.querySegments >> 2) + row
      copyIn(
        arena.integers,
        at,
        1,
        this.context.array(querySegments.array) as Int32Array,
        querySegments,
        passStart + row,
        rows,
        0,
        1,
      )
      segments = segmentRange(arena.integers, at, rows)
    }
    return { row, rows, flags: extreme ? FLAG_EXTREME_SCORES : 0, segments }
  }

  /** Who of the tile sees whom of the block; null where nobody sees a key, as far as positions and segments say. */
  bandOf(tile: QueryTile, block: KeyBlock): Band | null {
    const band = bandOf(this.task, this.#passStart + tile.row, block.start)
    if (isEmpty(band, tile.rows, block.keys)) return null
    const { segments } = tile
    return segments !== undefined && block.segments !== undefined && areDisjoint(segments, block.segments) ? null : band
  }

  /**
   * Runs the kernel over one tile and one block in the phase that is set. Returns how many groups of 8 rows saw a key.
   */
  attend(tile: QueryTile, block: KeyBlock, band: Band): number {
    const {
      arena,
      layout,
      task: {
        rowStart,
        settings: { headSize, valueSize },
      },
    } = this
    const passStart = this.#passStart
    const { row, rows } = tile
    arena.setInteger(P_FLAGS, this.#taskFlags | tile.flags | block.flags)
    arena.setInteger(P_ROWS, rows)
    setBand(arena, band)
    arena.setInteger(P_QUERY, layout.query + row * headSize * 4)
    arena.setInteger(P_OUTPUT, layout.output + row * roundUp(valueSize, 4) * 4)
    arena.setInteger(P_STATE, this.stateOf(row))
    arena.setInteger(P_QUERY_SEGMENTS, layout.querySegments + row * 4)
    arena.setInteger(P_COUNTER_ROW, rowStart + passStart + row)
    loadScoreInputs(arena, layout, this.task, this.context, { tile: { row: passStart + row, rows }, block })
    return arena.kernels.attendTile()
  }

  /** The byte address of the state of a row's group. */
  stateOf(row: number): number {
    return this.layout.state + (row / 8) * STATE_BYTES
  }
}
