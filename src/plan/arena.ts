import { ARENA_START, GROUP_ROWS, STATE_BYTES, TILE_ROWS } from '../../assembly/abi.ts'
import { roundUp } from '../core/integers.ts'

const PAGE_BYTES = 65536
/** An arena for head sizes up to 256: enough for 1024 rows at 128, constant so that lanes do not grow between calls. */
const COMMON_ARENA_BYTES = 2 * 1024 * 1024
const MOST_ROWS = 1024

/** Where everything is in a lane's linear memory, as byte addresses, all multiples of 16. */
export interface AttentionArena {
  /** keys a block */
  readonly blockRows: number
  /** query rows that one pass over the keys serves: a multiple of TILE_ROWS */
  readonly rows: number
  /** [blockRows][8]: scores of a group */
  readonly scores: number
  readonly biasLanes: number
  /** [blockRows] bytes */
  readonly allow: number
  /** 128 bytes */
  readonly vectors: number
  /** [TILE_ROWS][blockRows] bytes */
  readonly mask: number
  /** [TILE_ROWS][blockRows] */
  readonly bias: number
  /** Int32 [blockRows] and [rows] */
  readonly keySegments: number
  readonly querySegments: number
  /** [TILE_ROWS][max(D, Dv, blockRows)]: row-major queries, outputs, scores or weights of a tile */
  readonly transfer: number
  /** [blockRows][max(D, Dv)]: a block as it was copied in, before it is packed */
  readonly raw: number
  /** [blockRows][D] and [blockRows][Dv rounded up to 4] */
  readonly key: number
  readonly value: number
  /** STATE_BYTES for each 8 of `rows` */
  readonly state: number
  /** [rows / 8][D][8] and [rows / 8][Dv rounded up to 4][8] */
  readonly query: number
  readonly output: number
  /** of the whole memory: a multiple of 64 KiB */
  readonly bytes: number
}

/** Keys a block. It decides which sums are formed, so it depends on D and Dv alone. A multiple of 16. */
export function keyBlockRows(headSize: number, valueSize: number): number {
  const widest = Math.max(headSize, valueSize)
  if (widest <= 64) return 256
  if (widest <= 128) return 128
  return widest <= 256 ? 64 : 32
}

/** Bytes of a wasm lane's arena: 2 MiB up to D = Dv = 256 and somewhat beyond, then linear in D + Dv. */
export function attentionArenaBytes(headSize: number, valueSize: number): number {
  return attentionArena(headSize, valueSize).bytes
}

/** The arena that a wasm lane makes when it starts, whatever it will be asked to do. */
export function startingArenaBytes(): number {
  return attentionArenaBytes(1, 1)
}

/** Query rows that a task may have without more than one pass over the keys. */
export function attentionArenaRows(headSize: number, valueSize: number): number {
  return attentionArena(headSize, valueSize).rows
}

export function attentionArena(headSize: number, valueSize: number): AttentionArena {
  const { arena } = last
  if (arena !== null && last.headSize === headSize && last.valueSize === valueSize) return arena
  const laidOut = fitArena(headSize, valueSize)
  last = { headSize, valueSize, arena: laidOut }
  return laidOut
}

/** Tasks and plans ask for the same sizes again and again. */
let last: { readonly headSize: number; readonly valueSize: number; readonly arena: AttentionArena | null } = {
  headSize: 0,
  valueSize: 0,
  arena: null,
}

function fitArena(headSize: number, valueSize: number): AttentionArena {
  const fixed = layOut(headSize, valueSize, 0).end
  const perTile = layOut(headSize, valueSize, TILE_ROWS).end - fixed
  const fitting = Math.floor((COMMON_ARENA_BYTES - fixed) / perTile) * TILE_ROWS
  const rows = Math.min(MOST_ROWS, Math.max(TILE_ROWS, fitting))
  const { end, ...places } = layOut(headSize, valueSize, rows)
  const bytes = Math.max(COMMON_ARENA_BYTES, Math.ceil(end / PAGE_BYTES) * PAGE_BYTES)
  return { ...places, rows, bytes }
}

function layOut(headSize: number, valueSize: number, rows: number) {
  const blockRows = keyBlockRows(headSize, valueSize)
  const paddedValue = roundUp(valueSize, 4)
  let end = ARENA_START
  const take = (bytes: number): number => {
    const start = end
    end += roundUp(bytes, 16)
    return start
  }
  const places = {
    blockRows,
    scores: take(blockRows * GROUP_ROWS * 4),
    biasLanes: take(blockRows * GROUP_ROWS * 4),
    allow: take(blockRows),
    vectors: take(128),
    mask: take(TILE_ROWS * blockRows),
    bias: take(TILE_ROWS * blockRows * 4),
    keySegments: take(blockRows * 4),
    transfer: take(TILE_ROWS * Math.max(headSize, valueSize, blockRows) * 4),
    raw: take(blockRows * Math.max(headSize, valueSize) * 4),
    key: take(blockRows * headSize * 4),
    value: take(blockRows * paddedValue * 4),
    querySegments: take(rows * 4),
    state: take((rows / GROUP_ROWS) * STATE_BYTES),
    query: take(rows * headSize * 4),
    output: take(rows * paddedValue * 4),
  }
  return { ...places, end }
}
