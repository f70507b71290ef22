import { ARENA_START, GROUP_ROWS, TILE_ROWS } from '../../assembly/abi.ts'
import { roundUp } from '../core/integers.ts'
import { attentionArenaBytes, keyBlockRows } from './arena.ts'

const PAGE_BYTES = 65536
/** Columns of a panel: row-major operands of the accumulating kernels are padded to whole panels. */
const PANEL_COLUMNS = 8

/** Where everything of a backward task is in a lane's linear memory, as byte addresses, all multiples of 16. */
export interface BackwardArena {
  /** keys a block; the same as forward's */
  readonly blockRows: number
  /** D and Dv (or C), rounded up to whole panels */
  readonly headColumns: number
  readonly valueColumns: number
  /** [TILE_ROWS / 8][blockRows][8] each */
  readonly probabilities: number
  readonly dScores: number
  readonly biasLanes: number
  /** [blockRows][8]: the softcap's derivative */
  readonly softcapSlopes: number
  /** [TILE_ROWS / 8][blockRows] bytes */
  readonly allow: number
  /** [blockRows] bytes: weights that dropout keeps */
  readonly kept: number
  /** Int32 [TILE_ROWS / 8][2] */
  readonly ranges: number
  /** 128 bytes */
  readonly vectors: number
  /** [TILE_ROWS][blockRows] bytes */
  readonly mask: number
  /** [TILE_ROWS][blockRows] */
  readonly bias: number
  /** Int32 [blockRows] and [TILE_ROWS] */
  readonly keySegments: number
  readonly querySegments: number
  /** [TILE_ROWS] each */
  readonly logSumExp: number
  readonly delta: number
  readonly rowFactors: number
  readonly biasRows: number
  readonly slopeRows: number
  /** [blockRows] */
  readonly biasColumns: number
  /** [TILE_ROWS][blockRows]: dS of a tile, row-major, for a bias of its own */
  readonly transfer: number
  /** [max(blockRows, TILE_ROWS)][max(D, Dv)]: a block, or a tile's outputs, as they were copied in */
  readonly raw: number
  /** packed as keys are, [blockRows][D] and [blockRows][Dv]; and keys in panels, [headColumns / 8][blockRows][8] */
  readonly key: number
  readonly valueKeys: number
  readonly keyPanels: number
  /** packed queries and dO: [TILE_ROWS / 8][D][8] and [TILE_ROWS / 8][Dv][8] */
  readonly query: number
  readonly dOutput: number
  /** row-major, [TILE_ROWS][headColumns] or [TILE_ROWS][valueColumns] */
  readonly queryRows: number
  readonly dOutputRows: number
  readonly dQuery: number
  /** [blockRows][headColumns] and [blockRows][valueColumns] */
  readonly dKey: number
  readonly dValue: number
  /** of the whole memory: a multiple of 64 KiB */
  readonly bytes: number
}

/**
 * Bytes of a wasm lane's arena that runs backward: forward's 2 MiB where that holds it, as it does up to D = Dv = 256.
 */
export function backwardArenaBytes(headSize: number, valueSize: number): number {
  return backwardArena(headSize, valueSize).bytes
}

// eslint-disable-next-line max-lines-per-function -- a table of places, in the order of the memory
export function backwardArena(headSize: number, valueSize: number): BackwardArena {
  const blockRows = keyBlockRows(headSize, valueSize)
  const headColumns = roundUp(headSize, PANEL_COLUMNS)
  const valueColumns = roundUp(valueSize, PANEL_COLUMNS)
  let end = ARENA_START
  const take = (bytes: number): number => {
    const start = end
    end += roundUp(bytes, 16)
    return start
  }
  const places = {
    probabilities: take(TILE_ROWS * blockRows * 4),
    dScores: take(TILE_ROWS * blockRows * 4),
    biasLanes: take(blockRows * GROUP_ROWS * 4),
    softcapSlopes: take(blockRows * GROUP_ROWS * 4),
    allow: take((TILE_ROWS / GROUP_ROWS) * blockRows),
    kept: take(blockRows),
    ranges: take((TILE_ROWS / GROUP_ROWS) * 8),
    vectors: take(128),
    mask: take(TILE_ROWS * blockRows),
    bias: take(TILE_ROWS * blockRows * 4),
    keySegments: take(blockRows * 4),
    querySegments: take(TILE_ROWS * 4),
    logSumExp: take(TILE_ROWS * 4),
    delta: take(TILE_ROWS * 4),
    rowFactors: take(TILE_ROWS * 4),
    biasRows: take(TILE_ROWS * 4),
    slopeRows: take(TILE_ROWS * 4),
    biasColumns: take(blockRows * 4),
    transfer: take(TILE_ROWS * blockRows * 4),
    raw: take(Math.max(blockRows, TILE_ROWS) * Math.max(headSize, valueSize) * 4),
    key: take(blockRows * headSize * 4),
    valueKeys: take(blockRows * valueSize * 4),
    keyPanels: take(blockRows * headColumns * 4),
    query: take(TILE_ROWS * headSize * 4),
    dOutput: take(TILE_ROWS * valueSize * 4),
    queryRows: take(TILE_ROWS * headColumns * 4),
    dOutputRows: take(TILE_ROWS * valueColumns * 4),
    dQuery: take(TILE_ROWS * headColumns * 4),
    dKey: take(blockRows * headColumns * 4),
    dValue: take(blockRows * valueColumns * 4),
  }
  const bytes = Math.max(attentionArenaBytes(headSize, valueSize), roundUp(end, PAGE_BYTES))
  return { ...places, blockRows, headColumns, valueColumns, bytes }
}
