import { scoreGroup } from './score-group'

/** Columns of a panel and of a quad. */
const PANEL_COLUMNS: i32 = 8
/** Rows that are packed together: a panel's cache lines are filled before others, at strides of powers of two, push them out. */
const BLOCK_ROWS: i32 = 16
/** Outputs whose quads stay in the cache while all panels pass by. */
const BLOCK_OUTPUTS: i32 = 64

/**
 * to[⌊c/8⌋][r][c mod 8] = from[r][c]: rows in panels of 8 columns. The last panel is filled up with zeros.
 *
 * Rows can arrive tile by tile: `to` plus 32 bytes for each row before. This also packs a weight W [out][in] for X·W, rows of
 * W as rows here: the panels are those that `linearRows` takes for the transposed weight.
 *
 * @param from [rows][width]
 * @param to [⌈width / 8⌉][stride][8], of which `rows` rows of each panel are written
 * @param stride rows of a panel
 */
export function packPanels(from: usize, rows: i32, width: i32, to: usize, stride: i32): void {
  const rowBytes = <usize>width << 2
  const panel = <usize>stride << 5
  const left = width & 7
  for (; rows > 0; rows -= BLOCK_ROWS) {
    const tall = <usize>min(rows, BLOCK_ROWS)
    const rowEnd = to + (tall << 5)
    let target = to
    for (const whole = from + (rowBytes & ~31); from < whole; from += 32, target += panel) {
      let source = from
      for (let at = target, end = target + (tall << 5); at < end; at += 32, source += rowBytes) {
        v128.store(at, v128.load(source))
        v128.store(at, v128.load(source, 16), 16)
      }
    }
    if (left > 0) {
      const fours = left >= 4
      let source = from
      for (let at = target, end = target + (tall << 5); at < end; at += 32, source += rowBytes) {
        v128.store(at, fours ? v128.load(source) : first(source, left))
        v128.store(at, fours ? first(source + 16, left - 4) : i32x4.splat(0), 16)
      }
      from += <usize>left << 2
    }
    from += (tall - 1) * rowBytes
    to = rowEnd
  }
}

/**
 * to[⌊c/4⌋][r][c mod 4] = from[r][c]: the same in panels of 4 columns; 16 bytes for each row before.
 *
 * @param from [rows][width]
 * @param to [⌈width / 4⌉][stride][4]
 */
export function packQuads(from: usize, rows: i32, width: i32, to: usize, stride: i32): void {
  const rowBytes = <usize>width << 2
  const quad = <usize>stride << 4
  const left = width & 3
  for (; rows > 0; rows -= BLOCK_ROWS) {
    const tall = <usize>min(rows, BLOCK_ROWS)
    const rowEnd = to + (tall << 4)
    let target = to
    for (const whole = from + (rowBytes & ~15); from < whole; from += 16, target += quad) {
      let source = from
      for (let at = target, end = target + (tall << 4); at < end; at += 16, source += rowBytes) v128.store(at, v128.load(source))
    }
    if (left > 0) {
      let source = from
      for (let at = target, end = target + (tall << 4); at < end; at += 16, source += rowBytes) v128.store(at, first(source, left))
      from += <usize>left << 2
    }
    from += (tall - 1) * rowBytes
    to = rowEnd
  }
}

/** The first `count` < 4 elements, then zeros. */
// @ts-ignore: decorator
@inline
function first(from: usize, count: i32): v128 {
  if (count <= 0) return i32x4.splat(0)
  let x = v128.load32_zero(from)
  if (count > 1) x = v128.load_lane<f32>(from + 4, x, 1)
  if (count > 2) x = v128.load_lane<f32>(from + 8, x, 2)
  return x
}

/**
 * sums[o][i] += Σ_r dy[r][o]·x[r][i]: the gradient of a weight over the rows of a slab. Each sum runs over the rows in
 * ascending order, from 0, and is then added once; its bits depend on its own columns only.
 *
 * Eight inputs stand in lanes as eight queries do in attention, outputs are broadcast as keys are: the same product.
 *
 * @param quads dy as `packQuads` packs it, [⌈outSize / 4⌉][rows][4]
 * @param panels x as `packPanels` packs it, [⌈inSize / 8⌉][rows][8]; 16-byte aligned
 * @param sums [outSize][inSize], updated; overlaps nothing
 * @param scratch products [min(64, outSize rounded up to 4)][8], then maxima [8]: at most 2080 bytes; 16-byte aligned
 */
export function outerRows(quads: usize, panels: usize, rows: i32, outSize: i32, inSize: i32, sums: usize, scratch: usize): void {
  if (rows <= 0) return
  const panelBytes = <usize>rows << 5
  const sumBytes = <usize>inSize << 2
  for (let output = 0; output < outSize; output += BLOCK_OUTPUTS) {
    const outputs = min(BLOCK_OUTPUTS, outSize - output)
    const maxima = scratch + (<usize>((outputs + 3) & ~3) << 5)
    let panel = panels
    for (let input = 0; input < inSize; input += PANEL_COLUMNS, panel += panelBytes) {
      scoreGroup(panel, quads, scratch, outputs, rows, maxima)
      const width = min(PANEL_COLUMNS, inSize - input)
      let to = sums + (<usize>input << 2)
      for (let at = scratch, end = scratch + (<usize>outputs << 5); at < end; at += 32, to += sumBytes) addRow(at, width, to)
    }
    quads += <usize>BLOCK_OUTPUTS * (<usize>rows << 2)
    sums += <usize>BLOCK_OUTPUTS * sumBytes
  }
}

/** y += x over the first `width` of eight columns. */
// @ts-ignore: decorator
@inline
function addRow(x: usize, width: i32, y: usize): void {
  if (width == PANEL_COLUMNS) {
    v128.store(y, f32x4.add(v128.load(y), v128.load(x)))
    v128.store(y, f32x4.add(v128.load(y, 16), v128.load(x, 16)), 16)
    return
  }
  for (const end = x + (<usize>width << 2); x < end; x += 4, y += 4) store<f32>(y, load<f32>(y) + load<f32>(x))
}
