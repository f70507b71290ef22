import { madd } from './lanes'

/**
 * For groups of a few queries, above all the one row of a decoding step: keys in lanes, then columns in lanes, so that no
 * lane is idle. Each sum runs in the same order as in score-group.ts and value-group.ts, so the bits are the same.
 */

/** Bytes from one key's scores, or one column's queries and outputs, to the next: 8 lanes. */
const STEP: usize = 32

/**
 * S[j][r] = Σ_c Q[c][r]·K[j][c] for rows r < `rows` ≤ 4 of a group, and their largest scores. Other lanes stay as they are.
 *
 * @param q packed queries [D][8]
 * @param k keys [keys][D], row-major
 * @param s scores [keys][8]
 * @param largest f32 [8], written
 */
export function scoreRows(q: usize, k: usize, s: usize, keys: i32, headSize: i32, rows: i32, largest: usize): void {
  v128.store(largest, f32x4.splat(-3.4028234663852886e38))
  v128.store(largest, f32x4.splat(-3.4028234663852886e38), 16)
  for (let at: usize = 0; at < <usize>rows << 2; at += 4) {
    store<f32>(largest + at, scoreRow(q + at, k, s + at, keys, headSize))
  }
}

/** One row: 16 keys at once, four chains of sums; then key by key. Returns the largest score. */
function scoreRow(q: usize, k: usize, s: usize, keys: i32, headSize: i32): f32 {
  const stride = <usize>headSize << 2
  const quad = stride << 2
  let top = f32x4.splat(-3.4028234663852886e38)
  for (; keys >= 16; keys -= 16) {
    let a = i32x4.splat(0), b = a, c = a, d = a
    let at = q
    let from = k
    for (const end = k + (stride & ~15); from < end; from += 16) {
      const q0 = v128.load32_splat(at), q1 = v128.load32_splat(at, 32), q2 = v128.load32_splat(at, 64), q3 = v128.load32_splat(at, 96)
      a = fourByFour(from, stride, q0, q1, q2, q3, a)
      b = fourByFour(from + quad, stride, q0, q1, q2, q3, b)
      c = fourByFour(from + quad * 2, stride, q0, q1, q2, q3, c)
      d = fourByFour(from + quad * 3, stride, q0, q1, q2, q3, d)
      at += STEP * 4
    }
    for (const end = k + stride; from < end; from += 4) {
      const query = v128.load32_splat(at)
      a = madd(query, gather(from, stride), a)
      b = madd(query, gather(from + quad, stride), b)
      c = madd(query, gather(from + quad * 2, stride), c)
      d = madd(query, gather(from + quad * 3, stride), d)
      at += STEP
    }
    top = f32x4.pmax(f32x4.pmax(f32x4.pmax(f32x4.pmax(top, a), b), c), d)
    scatter(s, a)
    scatter(s + STEP * 4, b)
    scatter(s + STEP * 8, c)
    scatter(s + STEP * 12, d)
    k += quad << 2
    s += STEP * 16
  }
  for (; keys > 0; keys--, k += stride, s += STEP) {
    let sum = i32x4.splat(0)
    let at = q
    for (let from = k; from < k + stride; from += 4, at += STEP) sum = madd(v128.load32_splat(at), v128.load32_splat(from), sum)
    top = f32x4.pmax(top, sum)
    v128.store_lane<f32>(s, sum, 0)
  }
  return max(max(f32x4.extract_lane(top, 0), f32x4.extract_lane(top, 1)), max(f32x4.extract_lane(top, 2), f32x4.extract_lane(top, 3)))
}

/** Adds four columns of four keys, transposed so that keys stand in lanes, to their sums, in column order. */
// @ts-ignore: decorator
@inline
function fourByFour(k: usize, stride: usize, q0: v128, q1: v128, q2: v128, q3: v128, sum: v128): v128 {
  const x0 = v128.load(k), x1 = v128.load(k + stride), x2 = v128.load(k + stride * 2), x3 = v128.load(k + stride * 3)
  const y0 = v128.shuffle<f32>(x0, x1, 0, 4, 1, 5), y1 = v128.shuffle<f32>(x0, x1, 2, 6, 3, 7)
  const y2 = v128.shuffle<f32>(x2, x3, 0, 4, 1, 5), y3 = v128.shuffle<f32>(x2, x3, 2, 6, 3, 7)
  sum = madd(q0, v128.shuffle<f32>(y0, y2, 0, 1, 4, 5), sum)
  sum = madd(q1, v128.shuffle<f32>(y0, y2, 2, 3, 6, 7), sum)
  sum = madd(q2, v128.shuffle<f32>(y1, y3, 0, 1, 4, 5), sum)
  return madd(q3, v128.shuffle<f32>(y1, y3, 2, 3, 6, 7), sum)
}

/**
 * O[c][r] = O[c][r]·rescale[r] + Σ_j P[j][r]·V[j][c] for rows r < `rows` ≤ 4 of a group. Other lanes stay as they are.
 *
 * @param p weights [keys][8]
 * @param v values [keys][Dv], row-major
 * @param o output [Dv][8], updated
 * @param rescale f32 [8]
 */
export function valueRows(p: usize, v: usize, o: usize, keys: i32, valueSize: i32, rows: i32, rescale: usize): void {
  for (let at: usize = 0; at < <usize>rows << 2; at += 4) valueRow(p + at, v, o + at, keys, valueSize, v128.load32_splat(rescale + at))
}

function valueRow(p: usize, v: usize, o: usize, keys: i32, valueSize: i32, shrink: v128): void {
  const stride = <usize>valueSize << 2
  const last = p + <usize>keys * STEP
  for (; valueSize >= 32; valueSize -= 32) {
    let a0 = f32x4.mul(gather(o, STEP), shrink), a1 = f32x4.mul(gather(o + STEP * 4, STEP), shrink)
    let a2 = f32x4.mul(gather(o + STEP * 8, STEP), shrink), a3 = f32x4.mul(gather(o + STEP * 12, STEP), shrink)
    let a4 = f32x4.mul(gather(o + STEP * 16, STEP), shrink), a5 = f32x4.mul(gather(o + STEP * 20, STEP), shrink)
    let a6 = f32x4.mul(gather(o + STEP * 24, STEP), shrink), a7 = f32x4.mul(gather(o + STEP * 28, STEP), shrink)
    let row = v
    for (let at = p; at < last; at += STEP, row += stride) {
      const weight = v128.load32_splat(at)
      a0 = madd(weight, v128.load(row), a0)
      a1 = madd(weight, v128.load(row, 16), a1)
      a2 = madd(weight, v128.load(row, 32), a2)
      a3 = madd(weight, v128.load(row, 48), a3)
      a4 = madd(weight, v128.load(row, 64), a4)
      a5 = madd(weight, v128.load(row, 80), a5)
      a6 = madd(weight, v128.load(row, 96), a6)
      a7 = madd(weight, v128.load(row, 112), a7)
    }
    scatter(o, a0)
    scatter(o + STEP * 4, a1)
    scatter(o + STEP * 8, a2)
    scatter(o + STEP * 12, a3)
    scatter(o + STEP * 16, a4)
    scatter(o + STEP * 20, a5)
    scatter(o + STEP * 24, a6)
    scatter(o + STEP * 28, a7)
    o += STEP * 32
    v += 128
  }
  for (; valueSize >= 4; valueSize -= 4, o += STEP * 4, v += 16) {
    let sum = f32x4.mul(gather(o, STEP), shrink)
    let row = v
    for (let at = p; at < last; at += STEP, row += stride) sum = madd(v128.load32_splat(at), v128.load(row), sum)
    scatter(o, sum)
  }
  for (; valueSize > 0; valueSize--, o += STEP, v += 4) {
    let sum = f32x4.mul(v128.load32_splat(o), shrink)
    let row = v
    for (let at = p; at < last; at += STEP, row += stride) sum = madd(v128.load32_splat(at), v128.load32_splat(row), sum)
    v128.store_lane<f32>(o, sum, 0)
  }
}

/** Four floats, `stride` bytes apart. */
// @ts-ignore: decorator
@inline
export function gather(from: usize, stride: usize): v128 {
  const two = v128.load_lane<f32>(from + stride, v128.load32_zero(from), 1)
  return v128.load_lane<f32>(from + stride * 3, v128.load_lane<f32>(from + stride * 2, two, 2), 3)
}

/** The other way, to lanes of successive keys or columns. */
// @ts-ignore: decorator
@inline
export function scatter(to: usize, x: v128): void {
  v128.store_lane<f32>(to, x, 0)
  v128.store_lane<f32>(to, x, 1, 32)
  v128.store_lane<f32>(to, x, 2, 64)
  v128.store_lane<f32>(to, x, 3, 96)
}
