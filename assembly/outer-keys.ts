import { madd } from './lanes'

/**
 * Y[j][c] += Σ_r P[j][r]·X[r][c] for four keys, over the queries of `groups` groups; each sum runs over r in ascending order.
 * The inner loop is built as in score-group.ts.
 *
 * @param p [groups][block][8], from the first of the four keys of the first group on; `group` bytes from one to the next
 * @param x [8·groups][stride], row-major, padded with zeros to whole panels of eight columns; `stride` in bytes
 * @param y [4][stride], updated
 */
export function outerKeys(p: usize, group: usize, groups: i32, x: usize, stride: usize, y: usize): void {
  const yb = stride, yc = stride << 1, yd = stride * 3
  const end = p + group * <usize>groups
  for (const done = y + stride; y < done; y += 32, x += 32) {
    let a0 = v128.load(y), a1 = v128.load(y, 16)
    let b0 = v128.load(y + yb), b1 = v128.load(y + yb, 16)
    let c0 = v128.load(y + yc), c1 = v128.load(y + yc, 16)
    let d0 = v128.load(y + yd), d1 = v128.load(y + yd, 16)
    let row = x
    for (let from = p; from < end; from += group) {
      let at = from
      const last = from + 32
      do {
        const x0p = v128.load(row), x1p = v128.load(row, 16)
        let wp = v128.load32_splat(at)
        a0 = madd(x0p, wp, a0)
        a1 = madd(x1p, wp, a1)
        wp = v128.load32_splat(at, 32)
        b0 = madd(x0p, wp, b0)
        b1 = madd(x1p, wp, b1)
        wp = v128.load32_splat(at, 64)
        c0 = madd(x0p, wp, c0)
        c1 = madd(x1p, wp, c1)
        wp = v128.load32_splat(at, 96)
        d0 = madd(x0p, wp, d0)
        d1 = madd(x1p, wp, d1)
        row += stride
        at += 4
        if (at >= last) break
        const x0q = v128.load(row), x1q = v128.load(row, 16)
        let wq = v128.load32_splat(at)
        a0 = madd(x0q, wq, a0)
        a1 = madd(x1q, wq, a1)
        wq = v128.load32_splat(at, 32)
        b0 = madd(x0q, wq, b0)
        b1 = madd(x1q, wq, b1)
        wq = v128.load32_splat(at, 64)
        c0 = madd(x0q, wq, c0)
        c1 = madd(x1q, wq, c1)
        wq = v128.load32_splat(at, 96)
        d0 = madd(x0q, wq, d0)
        d1 = madd(x1q, wq, d1)
        row += stride
        at += 4
        if (at >= last) break
        const x0r = v128.load(row), x1r = v128.load(row, 16)
        let wr = v128.load32_splat(at)
        a0 = madd(x0r, wr, a0)
        a1 = madd(x1r, wr, a1)
        wr = v128.load32_splat(at, 32)
        b0 = madd(x0r, wr, b0)
        b1 = madd(x1r, wr, b1)
        wr = v128.load32_splat(at, 64)
        c0 = madd(x0r, wr, c0)
        c1 = madd(x1r, wr, c1)
        wr = v128.load32_splat(at, 96)
        d0 = madd(x0r, wr, d0)
        d1 = madd(x1r, wr, d1)
        row += stride
        at += 4
        if (at >= last) break
        const x0s = v128.load(row), x1s = v128.load(row, 16)
        let ws = v128.load32_splat(at)
        a0 = madd(x0s, ws, a0)
        a1 = madd(x1s, ws, a1)
        ws = v128.load32_splat(at, 32)
        b0 = madd(x0s, ws, b0)
        b1 = madd(x1s, ws, b1)
        ws = v128.load32_splat(at, 64)
        c0 = madd(x0s, ws, c0)
        c1 = madd(x1s, ws, c1)
        ws = v128.load32_splat(at, 96)
        d0 = madd(x0s, ws, d0)
        d1 = madd(x1s, ws, d1)
        row += stride
        at += 4
      } while (at < last)
    }
    v128.store(y, a0)
    v128.store(y, a1, 16)
    v128.store(y + yb, b0)
    v128.store(y + yb, b1, 16)
    v128.store(y + yc, c0)
    v128.store(y + yc, c1, 16)
    v128.store(y + yd, d0)
    v128.store(y + yd, d1, 16)
  }
}

/**
 * Adds one group to one key, where anything may be NaN or infinite: only queries whose allow bit is set count.
 * Called for each group in order, it gives the bits of `outerKeys` otherwise.
 *
 * @param p f32 [8]: the key's weights
 * @param x [8][stride], the group's rows
 */
export function outerKeyExtreme(p: usize, x: usize, stride: usize, y: usize, allow: u32): void {
  for (const done = y + stride; y < done; y += 16, x += 16) {
    let sum = v128.load(y)
    for (let r: usize = 0; r < 8; r++) {
      if ((allow >> <u32>r) & 1) sum = madd(v128.load(x + r * stride), v128.load32_splat(p + (r << 2)), sum)
    }
    v128.store(y, sum)
  }
}
