import { highLanes, lowLanes, madd } from './lanes'

/**
 * O[c][r] = O[c][r]·rescale[r] + Σ_j P[j][r]·V[j][c] for one group of 8 queries; each sum runs over j in ascending order.
 * The inner loop is built as in score-group.ts.
 *
 * @param p weights [keys][8]
 * @param v packed values [⌈Dv / 4⌉][block][4], from the first of the keys on; `quad` bytes from four columns to the next four
 * @param o output [Dv, rounded up to 4][8], updated
 * @param rescale f32 [8]
 */
export function valueGroup(p: usize, v: usize, quad: usize, o: usize, keys: i32, valueSize: i32, rescale: usize): void {
  const last = p + (<usize>keys << 5)
  const shrink0 = v128.load(rescale), shrink1 = v128.load(rescale, 16)
  for (; valueSize > 0; valueSize -= 4, o += 128, v += quad) {
    let a0 = f32x4.mul(v128.load(o), shrink0), a1 = f32x4.mul(v128.load(o, 16), shrink1)
    let b0 = f32x4.mul(v128.load(o, 32), shrink0), b1 = f32x4.mul(v128.load(o, 48), shrink1)
    let c0 = f32x4.mul(v128.load(o, 64), shrink0), c1 = f32x4.mul(v128.load(o, 80), shrink1)
    let d0 = f32x4.mul(v128.load(o, 96), shrink0), d1 = f32x4.mul(v128.load(o, 112), shrink1)
    let at = p
    let row = v
    do {
      const p0a = v128.load(at), p1a = v128.load(at, 16)
      let value0 = v128.load32_splat(row)
      a0 = madd(p0a, value0, a0)
      a1 = madd(p1a, value0, a1)
      value0 = v128.load32_splat(row, 4)
      b0 = madd(p0a, value0, b0)
      b1 = madd(p1a, value0, b1)
      value0 = v128.load32_splat(row, 8)
      c0 = madd(p0a, value0, c0)
      c1 = madd(p1a, value0, c1)
      value0 = v128.load32_splat(row, 12)
      d0 = madd(p0a, value0, d0)
      d1 = madd(p1a, value0, d1)
      row += 16
      at += 32
      if (at >= last) break
      const p0b = v128.load(at), p1b = v128.load(at, 16)
      let value1 = v128.load32_splat(row)
      a0 = madd(p0b, value1, a0)
      a1 = madd(p1b, value1, a1)
      value1 = v128.load32_splat(row, 4)
      b0 = madd(p0b, value1, b0)
      b1 = madd(p1b, value1, b1)
      value1 = v128.load32_splat(row, 8)
      c0 = madd(p0b, value1, c0)
      c1 = madd(p1b, value1, c1)
      value1 = v128.load32_splat(row, 12)
      d0 = madd(p0b, value1, d0)
      d1 = madd(p1b, value1, d1)
      row += 16
      at += 32
      if (at >= last) break
      const p0c = v128.load(at), p1c = v128.load(at, 16)
      let value2 = v128.load32_splat(row)
      a0 = madd(p0c, value2, a0)
      a1 = madd(p1c, value2, a1)
      value2 = v128.load32_splat(row, 4)
      b0 = madd(p0c, value2, b0)
      b1 = madd(p1c, value2, b1)
      value2 = v128.load32_splat(row, 8)
      c0 = madd(p0c, value2, c0)
      c1 = madd(p1c, value2, c1)
      value2 = v128.load32_splat(row, 12)
      d0 = madd(p0c, value2, d0)
      d1 = madd(p1c, value2, d1)
      row += 16
      at += 32
      if (at >= last) break
      const p0d = v128.load(at), p1d = v128.load(at, 16)
      let value3 = v128.load32_splat(row)
      a0 = madd(p0d, value3, a0)
      a1 = madd(p1d, value3, a1)
      value3 = v128.load32_splat(row, 4)
      b0 = madd(p0d, value3, b0)
      b1 = madd(p1d, value3, b1)
      value3 = v128.load32_splat(row, 8)
      c0 = madd(p0d, value3, c0)
      c1 = madd(p1d, value3, c1)
      value3 = v128.load32_splat(row, 12)
      d0 = madd(p0d, value3, d0)
      d1 = madd(p1d, value3, d1)
      row += 16
      at += 32
    } while (at < last)
    v128.store(o, a0)
    v128.store(o, a1, 16)
    v128.store(o, b0, 32)
    v128.store(o, b1, 48)
    v128.store(o, c0, 64)
    v128.store(o, c1, 80)
    v128.store(o, d0, 96)
    v128.store(o, d1, 112)
  }
}

/** `valueGroup` for values that may be NaN or infinite: a key adds to a row only where its allow bit is set. Same bits otherwise. */
export function valueGroupExtreme(p: usize, v: usize, quad: usize, o: usize, allow: usize, keys: i32, valueSize: i32, rescale: usize): void {
  const shrink0 = v128.load(rescale), shrink1 = v128.load(rescale, 16)
  for (let column = 0; column < valueSize; column++, o += 32) {
    let a0 = f32x4.mul(v128.load(o), shrink0), a1 = f32x4.mul(v128.load(o, 16), shrink1)
    let row = v + <usize>(column >> 2) * quad + (<usize>(column & 3) << 2)
    for (let j = 0; j < keys; j++, row += 16) {
      const bits = <u32>load<u8>(allow + <usize>j)
      const at = p + (<usize>j << 5)
      const value = v128.load32_splat(row)
      a0 = v128.bitselect(madd(v128.load(at), value, a0), a0, lowLanes(bits))
      a1 = v128.bitselect(madd(v128.load(at, 16), value, a1), a1, highLanes(bits))
    }
    v128.store(o, a0)
    v128.store(o, a1, 16)
  }
}
