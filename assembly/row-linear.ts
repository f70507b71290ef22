import { packKeys } from './pack'
import { scoreGroup } from './score-group'

/** Outputs that a packed weight keeps beside each other; plan/stage-arena.ts has the same number. */
const PANEL_COLUMNS: i32 = 8
const PANEL_BYTES: usize = 32

/**
 * Y = X·Wᵀ + b. Each element is the sum over k in order, whatever rows stand beside it.
 *
 * Eight outputs stand in lanes as eight queries do in attention, and rows are packed as keys are: the same product.
 *
 * @param x [rows, inSize]
 * @param panels ⌈outSize / 8⌉ panels [inSize][8] of W, as `packLanes` makes them of 8 rows of W; 16-byte aligned
 * @param bias [⌈outSize / 8⌉ · 8], or 0
 * @param y [rows, outSize]; overlaps nothing
 * @param scratch packed rows [⌈rows / 4⌉][inSize][4], then a panel's products [⌈rows / 4⌉ · 4][8] and maxima [8]; 16-byte aligned
 */
export function linearRows(x: usize, rows: i32, inSize: i32, panels: usize, bias: usize, y: usize, outSize: i32, scratch: usize): void {
  const panelBytes = <usize>inSize * PANEL_BYTES
  const rowBytes = <usize>outSize << 2
  const padded = <usize>((rows + 3) & ~3)
  const products = scratch + ((padded * <usize>inSize) << 2)
  packKeys(x, scratch, rows, inSize)
  for (let column = 0; column < outSize; column += PANEL_COLUMNS) {
    scoreGroup(panels, scratch, products, rows, inSize, products + (padded << 5))
    const low = bias == 0 ? f32x4.splat(0) : v128.load(bias + (<usize>column << 2))
    const high = bias == 0 ? f32x4.splat(0) : v128.load(bias + (<usize>column << 2), 16)
    const width = min(PANEL_COLUMNS, outSize - column)
    let to = y + (<usize>column << 2)
    for (let at = products, end = products + (<usize>rows << 5); at < end; at += 32, to += rowBytes) {
      storeRow(to, f32x4.add(v128.load(at), low), f32x4.add(v128.load(at, 16), high), width)
    }
    panels += panelBytes
  }
}

/** The first `width` of eight outputs. */
// @ts-ignore: decorator
@inline
function storeRow(y: usize, left: v128, right: v128, width: i32): void {
  if (width == PANEL_COLUMNS) {
    v128.store(y, left)
    v128.store(y, right, 16)
    return
  }
  if (width > 0) v128.store_lane<f32>(y, left, 0)
  if (width > 1) v128.store_lane<f32>(y, left, 1, 4)
  if (width > 2) v128.store_lane<f32>(y, left, 2, 8)
  if (width > 3) v128.store_lane<f32>(y, left, 3, 12)
  if (width > 4) v128.store_lane<f32>(y, right, 0, 16)
  if (width > 5) v128.store_lane<f32>(y, right, 1, 20)
  if (width > 6) v128.store_lane<f32>(y, right, 2, 24)
}
