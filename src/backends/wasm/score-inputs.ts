import {
  P_BIAS,
  P_BIAS_STRIDE,
  P_HIGH_BASE,
  P_KEY_LIMIT,
  P_LOW_BASE,
  P_MASK,
  P_MASK_STRIDE,
  P_POSITION,
} from '../../../assembly/abi.ts'
import type { AttentionArena } from '../../plan/arena.ts'
import type { AttentionTask, Slice } from '../../protocol/task.ts'
import type { TaskContext } from '../backend.ts'
import type { Arena } from './arena.ts'
import { copyIn } from './copy-rows.ts'
import type { Band } from './visibility.ts'

/** Tells the kernels who of a tile sees whom of a block by position. */
export function setBand(arena: Arena, band: Band): void {
  arena.setInteger(P_LOW_BASE, band.low)
  arena.setInteger(P_HIGH_BASE, band.high)
  arena.setInteger(P_KEY_LIMIT, band.limit)
  arena.setInteger(P_POSITION, band.position)
}

/** Rows of a tile, counted in the task, and keys of a block. */
interface Where {
  readonly tile: { readonly row: number; readonly rows: number }
  readonly block: { readonly start: number; readonly keys: number }
}

type Places = Pick<AttentionArena, 'mask' | 'bias' | 'blockRows'>

/** Copies what mask and bias say of a tile's rows and a block's keys into the arena. */
export function loadScoreInputs(
  arena: Arena,
  places: Places,
  { mask, bias }: Pick<AttentionTask, 'mask' | 'bias'>,
  context: TaskContext,
  { tile, block }: Where,
): void {
  const { blockRows } = places
  const { row } = tile
  const { start, keys } = block
  if (mask !== undefined) {
    const source = context.array(mask.array) as Uint8Array
    const rows = stagedRows(mask, tile.rows)
    copyIn(arena.octets, places.mask, blockRows, source, mask, row, rows, start, keys)
    arena.setInteger(P_MASK, places.mask)
    arena.setInteger(P_MASK_STRIDE, mask.rowStride === 0 ? 0 : blockRows)
  }
  if (bias !== undefined) {
    const source = context.array(bias.array) as Float32Array
    const rows = stagedRows(bias, tile.rows)
    copyIn(arena.floats, places.bias >> 2, blockRows, source, bias, row, rows, start, keys)
    arena.setInteger(P_BIAS, places.bias)
    arena.setInteger(P_BIAS_STRIDE, bias.rowStride === 0 ? 0 : blockRows)
  }
}

/** One row where it stands for all. */
function stagedRows(slice: Slice, rows: number): number {
  return slice.rowStride === 0 ? 1 : rows
}
