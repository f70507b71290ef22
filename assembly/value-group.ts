import { highLanes, lowLanes, madd } from './lanes'

/**
 * O[c][r] = O[c][r]·rescale[r] + Σ_j P[j][r]·V[j][c] for one group of 8 queries; each sum runs over j in ascending order.
 *
 * @param p weights [keys][8]
 * @param v values [keys][Dv], row-major
 * @param o output [Dv][8], updated
 * @param rescale f32 [8]
 */
export function valueGroup(p: usize, v: usize, o: usize, keys: i32, valueSize: i32, rescale: usize): void {
  const stride = <usize>valueSize << 2
  const last = p + (<usize>keys << 5)
  const shrink0 = v128.load(rescale), shrink1 = v128.load(rescale, 16)
  const fours = o + (<usize>(valueSize & ~3) << 5)
  const end = o + (<usize>valueSize << 5)
  for (; o < fours; o += 128) {
    let a0 = f32x4.mul(v128.load(o), shrink0), a1 = f32x4.mul(v128.load(o, 16), shrink1)
    let b0 = f32x4.mul(v128.load(o, 32), shrink0), b1 = f32x4.mul(v128.load(o, 48), shrink1)
    let c0 = f32x4.mul(v128.load(o, 64), shrink0), c1 = f32x4.mul(v128.load(o, 80), shrink1)
    let d0 = f32x4.mul(v128.load(o, 96), shrink0), d1 = f32x4.mul(v128.load(o, 112), shrink1)
    let row = v
    for (let at = p; at < last; at += 32) {
      const p0 = v128.load(at), p1 = v128.load(at, 16)
      let value = v128.load32_splat(row)
      a0 = madd(p0, value, a0)
      a1 = madd(p1, value, a1)
      value = v128.load32_splat(row, 4)
      b0 = madd(p0, value, b0)
      b1 = madd(p1, value, b1)
      value = v128.load32_splat(row, 8)
      c0 = madd(p0, value, c0)
      c1 = madd(p1, value, c1)
      value = v128.load32_splat(row, 12)
      d0 = madd(p0, value, d0)
      d1 = madd(p1, value, d1)
      row += stride
    }
    v128.store(o, a0)
    v128.store(o, a1, 16)
    v128.store(o, b0, 32)
    v128.store(o, b1, 48)
    v128.store(o, c0, 64)
    v128.store(o, c1, 80)
    v128.store(o, d0, 96)
    v128.store(o, d1, 112)
    v += 16
  }
  for (; o < end; o += 32) {
    let a0 = f32x4.mul(v128.load(o), shrink0), a1 = f32x4.mul(v128.load(o, 16), shrink1)
    let row = v
    for (let at = p; at < last; at += 32) {
      const value = v128.load32_splat(row)
      a0 = madd(v128.load(at), value, a0)
      a1 = madd(v128.load(at, 16), value, a1)
      row += stride
    }
    v128.store(o, a0)
    v128.store(o, a1, 16)
    v += 4
  }
}

/** `valueGroup` for values that may be NaN or infinite: a key adds to a row only where its allow bit is set. Same bits otherwise. */
export function valueGroupExtreme(p: usize, v: usize, o: usize, allow: usize, keys: i32, valueSize: i32, rescale: usize): void {
  const stride = <usize>valueSize << 2
  const shrink0 = v128.load(rescale), shrink1 = v128.load(rescale, 16)
  for (const end = o + (<usize>valueSize << 5); o < end; o += 32) {
    let a0 = f32x4.mul(v128.load(o), shrink0), a1 = f32x4.mul(v128.load(o, 16), shrink1)
    let row = v
    for (let j = 0; j < keys; j++) {
      const bits = <u32>load<u8>(allow + <usize>j)
      const at = p + (<usize>j << 5)
      const value = v128.load32_splat(row)
      a0 = v128.bitselect(madd(v128.load(at), value, a0), a0, lowLanes(bits))
      a1 = v128.bitselect(madd(v128.load(at, 16), value, a1), a1, highLanes(bits))
      row += stride
    }
    v128.store(o, a0)
    v128.store(o, a1, 16)
    v += 4
  }
}
