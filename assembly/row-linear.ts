import { madd } from './lanes'

/** Outputs that a packed weight keeps beside each other; plan/stage-arena.ts has the same number. */
const PANEL_COLUMNS: i32 = 8
const PANEL_BYTES: usize = 32

/**
 * Packs `outputs` ≤ 8 rows of W [outSize, inSize] as one panel [inSize][8]; lanes past `outputs` become 0.
 *
 * @param weight address of the first of these rows; a row follows the other
 * @param panel [inSize][8], 16-byte aligned
 */
export function packPanel(weight: usize, inSize: i32, outputs: i32, panel: usize): void {
  const rowBytes = <usize>inSize << 2
  for (let column = 0; column < PANEL_COLUMNS; column++) {
    let to = panel + (<usize>column << 2)
    let from = weight + <usize>column * rowBytes
    for (let k = 0; k < inSize; k++) {
      store<f32>(to, column < outputs ? load<f32>(from) : 0)
      from += 4
      to += PANEL_BYTES
    }
  }
}

/**
 * Y = X·Wᵀ + b. Each element is the sum over k in order, whatever rows stand beside it.
 *
 * @param x [rows, inSize]
 * @param panels ⌈outSize / 8⌉ panels [inSize][8] of W, 16-byte aligned
 * @param bias [⌈outSize / 8⌉ · 8], or 0
 * @param y [rows, outSize]; overlaps nothing
 */
export function linearRows(x: usize, rows: i32, inSize: i32, panels: usize, bias: usize, y: usize, outSize: i32): void {
  const panelBytes = <usize>inSize * PANEL_BYTES
  const rowBytes = <usize>outSize << 2
  for (let column = 0; column < outSize; column += PANEL_COLUMNS) {
    const low = bias == 0 ? f32x4.splat(0) : v128.load(bias + (<usize>column << 2))
    const high = bias == 0 ? f32x4.splat(0) : v128.load(bias + (<usize>column << 2), 16)
    const width = min(PANEL_COLUMNS, outSize - column)
    let from = x
    let to = y + (<usize>column << 2)
    let row = 0
    for (; row + 4 <= rows; row += 4) {
      fourRows(from, inSize, panels, panels + panelBytes, low, high, to, rowBytes, width)
      from += <usize>inSize << 4
      to += rowBytes << 2
    }
    for (; row < rows; row++) {
      oneRow(from, panels, panels + panelBytes, low, high, to, width)
      from += <usize>inSize << 2
      to += rowBytes
    }
    panels += panelBytes
  }
}

/** Four rows by eight outputs: 8 sums, 2 weights, 4 broadcasts, which just fit the registers. */
// @ts-ignore: decorator
@inline
function fourRows(x: usize, inSize: i32, panel: usize, end: usize, low: v128, high: v128, y: usize, rowBytes: usize, width: i32): void {
  const step = <usize>inSize << 2
  let x0 = x
  let x1 = x + step
  let x2 = x1 + step
  let x3 = x2 + step
  let a0 = f32x4.splat(0)
  let a1 = a0
  let a2 = a0
  let a3 = a0
  let b0 = a0
  let b1 = a0
  let b2 = a0
  let b3 = a0
  while (panel < end) {
    const left = v128.load(panel)
    const right = v128.load(panel, 16)
    const r0 = v128.load32_splat(x0)
    a0 = madd(r0, left, a0)
    b0 = madd(r0, right, b0)
    const r1 = v128.load32_splat(x1)
    a1 = madd(r1, left, a1)
    b1 = madd(r1, right, b1)
    const r2 = v128.load32_splat(x2)
    a2 = madd(r2, left, a2)
    b2 = madd(r2, right, b2)
    const r3 = v128.load32_splat(x3)
    a3 = madd(r3, left, a3)
    b3 = madd(r3, right, b3)
    panel += PANEL_BYTES
    x0 += 4
    x1 += 4
    x2 += 4
    x3 += 4
  }
  storeRow(y, f32x4.add(a0, low), f32x4.add(b0, high), width)
  storeRow(y + rowBytes, f32x4.add(a1, low), f32x4.add(b1, high), width)
  storeRow(y + 2 * rowBytes, f32x4.add(a2, low), f32x4.add(b2, high), width)
  storeRow(y + 3 * rowBytes, f32x4.add(a3, low), f32x4.add(b3, high), width)
}

// @ts-ignore: decorator
@inline
function oneRow(x: usize, panel: usize, end: usize, low: v128, high: v128, y: usize, width: i32): void {
  let a = f32x4.splat(0)
  let b = a
  while (panel < end) {
    const r = v128.load32_splat(x)
    a = madd(r, v128.load(panel), a)
    b = madd(r, v128.load(panel, 16), b)
    panel += PANEL_BYTES
    x += 4
  }
  storeRow(y, f32x4.add(a, low), f32x4.add(b, high), width)
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
