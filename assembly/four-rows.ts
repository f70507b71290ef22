import { gather, scatter } from './few-rows'
import { LOWEST, madd } from './lanes'

/**
 * For groups of three or four queries, above all the heads of a group in a decoding step: four queries are one vector, keys
 * and values lie row-major, so that nothing is packed and each is read once. Each sum runs in the same order as in
 * score-group.ts and value-group.ts, so the bits are the same.
 */

/** Bytes from one key's scores, or one column's queries and outputs, to the next: 8 lanes. */
const STEP: usize = 32

/**
 * S[j][r] = Σ_c Q[c][r]·K[j][c] for rows r < 4 of a group, and their largest scores. Lanes 4 to 7 stay as they are.
 * Eight keys at once; exits between the halves of a turn keep few registers live, as in score-group.ts.
 *
 * @param q packed queries [D][8]
 * @param k keys [keys][D], row-major
 * @param s scores [keys][8]
 * @param largest f32 [8], written
 */
export function scoreFour(q: usize, k: usize, s: usize, keys: i32, headSize: i32, largest: usize): void {
  const stride = <usize>headSize << 2
  const quad = stride << 2
  let top = f32x4.splat(LOWEST)
  for (; keys >= 8; keys -= 8) {
    let a = i32x4.splat(0), b = a, c = a, d = a, e = a, f = a, g = a, h = a
    const end = k + stride
    let from = k, low = k + quad, at = q
    do {
      const x = v128.load(at)
      a = madd(v128.load32_splat(from), x, a)
      b = madd(v128.load32_splat(from + stride), x, b)
      c = madd(v128.load32_splat(from + stride * 2), x, c)
      d = madd(v128.load32_splat(from + stride * 3), x, d)
      at += STEP
      from += 4
      if (from > end) break
      e = madd(v128.load32_splat(low), x, e)
      f = madd(v128.load32_splat(low + stride), x, f)
      g = madd(v128.load32_splat(low + stride * 2), x, g)
      h = madd(v128.load32_splat(low + stride * 3), x, h)
      low += 4
    } while (from < end)
    v128.store(s, a)
    v128.store(s, b, 32)
    v128.store(s, c, 64)
    v128.store(s, d, 96)
    v128.store(s, e, 128)
    v128.store(s, f, 160)
    v128.store(s, g, 192)
    v128.store(s, h, 224)
    top = f32x4.pmax(f32x4.pmax(f32x4.pmax(f32x4.pmax(top, a), b), c), d)
    top = f32x4.pmax(f32x4.pmax(f32x4.pmax(f32x4.pmax(top, e), f), g), h)
    k += quad << 1
    s += STEP * 8
  }
  for (; keys > 0; keys--, k += stride, s += STEP) {
    let sum = i32x4.splat(0)
    let at = q
    for (let from = k; from < k + stride; from += 4, at += STEP) sum = madd(v128.load32_splat(from), v128.load(at), sum)
    top = f32x4.pmax(top, sum)
    v128.store(s, sum)
  }
  v128.store(largest, top)
  v128.store(largest, f32x4.splat(LOWEST), 16)
}

/**
 * O[c][r] = O[c][r]·rescale[r] + Σ_j P[j][r]·V[j][c] for rows r < 4 of a group. Lanes 4 to 7 stay as they are. Eight columns at
 * once, in lanes.
 *
 * @param p weights [keys][8]
 * @param v values [keys][Dv], row-major
 * @param o output [Dv][8], updated
 * @param rescale f32 [8]
 */
export function valueFour(p: usize, v: usize, o: usize, keys: i32, valueSize: i32, rescale: usize): void {
  const stride = <usize>valueSize << 2
  const last = p + <usize>keys * STEP
  const shrink0 = v128.load32_splat(rescale), shrink1 = v128.load32_splat(rescale, 4)
  const shrink2 = v128.load32_splat(rescale, 8), shrink3 = v128.load32_splat(rescale, 12)
  for (; valueSize >= 8; valueSize -= 8, o += STEP * 8, v += 32) {
    const right = o + STEP * 4
    let a0 = f32x4.mul(gather(o, STEP), shrink0), a1 = f32x4.mul(gather(right, STEP), shrink0)
    let b0 = f32x4.mul(gather(o + 4, STEP), shrink1), b1 = f32x4.mul(gather(right + 4, STEP), shrink1)
    let c0 = f32x4.mul(gather(o + 8, STEP), shrink2), c1 = f32x4.mul(gather(right + 8, STEP), shrink2)
    let d0 = f32x4.mul(gather(o + 12, STEP), shrink3), d1 = f32x4.mul(gather(right + 12, STEP), shrink3)
    let row = v
    for (let at = p; at < last; at += STEP, row += stride) {
      const x0 = v128.load(row), x1 = v128.load(row, 16)
      const p0 = v128.load32_splat(at)
      a0 = madd(p0, x0, a0)
      a1 = madd(p0, x1, a1)
      const p1 = v128.load32_splat(at, 4)
      b0 = madd(p1, x0, b0)
      b1 = madd(p1, x1, b1)
      const p2 = v128.load32_splat(at, 8)
      c0 = madd(p2, x0, c0)
      c1 = madd(p2, x1, c1)
      const p3 = v128.load32_splat(at, 12)
      d0 = madd(p3, x0, d0)
      d1 = madd(p3, x1, d1)
    }
    scatter(o, a0)
    scatter(right, a1)
    scatter(o + 4, b0)
    scatter(right + 4, b1)
    scatter(o + 8, c0)
    scatter(right + 8, c1)
    scatter(o + 12, d0)
    scatter(right + 12, d1)
  }
  const shrink = v128.load(rescale)
  for (; valueSize > 0; valueSize--, o += STEP, v += 4) {
    let sum = f32x4.mul(v128.load(o), shrink)
    let row = v
    for (let at = p; at < last; at += STEP, row += stride) sum = madd(v128.load(at), v128.load32_splat(row), sum)
    v128.store(o, sum)
  }
}
