import { madd } from './lanes'

/**
 * Y[r][c] += Σ_j S[j][r]·X[j][c] for four of a group's eight queries; each sum runs over j in ascending order.
 * The inner loop is built as in score-group.ts.
 *
 * @param s [keys][8], from the first of the four queries on
 * @param x panels [⌈width / 8⌉][block][8], from the first of the keys on; `panel` bytes from eight columns to the next eight
 * @param y [4][stride], updated; `stride` in bytes, room for whole panels
 */
export function outerRows(s: usize, x: usize, panel: usize, y: usize, stride: usize, keys: i32, width: i32): void {
  const last = s + (<usize>keys << 5)
  const yb = stride, yc = stride << 1, yd = stride * 3
  for (; width > 0; width -= 8, x += panel, y += 32) {
    let a0 = v128.load(y), a1 = v128.load(y, 16)
    let b0 = v128.load(y + yb), b1 = v128.load(y + yb, 16)
    let c0 = v128.load(y + yc), c1 = v128.load(y + yc, 16)
    let d0 = v128.load(y + yd), d1 = v128.load(y + yd, 16)
    let at = s
    let row = x
    do {
      const k0p = v128.load(row), k1p = v128.load(row, 16)
      let dp = v128.load32_splat(at)
      a0 = madd(k0p, dp, a0)
      a1 = madd(k1p, dp, a1)
      dp = v128.load32_splat(at, 4)
      b0 = madd(k0p, dp, b0)
      b1 = madd(k1p, dp, b1)
      dp = v128.load32_splat(at, 8)
      c0 = madd(k0p, dp, c0)
      c1 = madd(k1p, dp, c1)
      dp = v128.load32_splat(at, 12)
      d0 = madd(k0p, dp, d0)
      d1 = madd(k1p, dp, d1)
      row += 32
      at += 32
      if (at >= last) break
      const k0q = v128.load(row), k1q = v128.load(row, 16)
      let dq = v128.load32_splat(at)
      a0 = madd(k0q, dq, a0)
      a1 = madd(k1q, dq, a1)
      dq = v128.load32_splat(at, 4)
      b0 = madd(k0q, dq, b0)
      b1 = madd(k1q, dq, b1)
      dq = v128.load32_splat(at, 8)
      c0 = madd(k0q, dq, c0)
      c1 = madd(k1q, dq, c1)
      dq = v128.load32_splat(at, 12)
      d0 = madd(k0q, dq, d0)
      d1 = madd(k1q, dq, d1)
      row += 32
      at += 32
      if (at >= last) break
      const k0r = v128.load(row), k1r = v128.load(row, 16)
      let dr = v128.load32_splat(at)
      a0 = madd(k0r, dr, a0)
      a1 = madd(k1r, dr, a1)
      dr = v128.load32_splat(at, 4)
      b0 = madd(k0r, dr, b0)
      b1 = madd(k1r, dr, b1)
      dr = v128.load32_splat(at, 8)
      c0 = madd(k0r, dr, c0)
      c1 = madd(k1r, dr, c1)
      dr = v128.load32_splat(at, 12)
      d0 = madd(k0r, dr, d0)
      d1 = madd(k1r, dr, d1)
      row += 32
      at += 32
      if (at >= last) break
      const k0s = v128.load(row), k1s = v128.load(row, 16)
      let ds = v128.load32_splat(at)
      a0 = madd(k0s, ds, a0)
      a1 = madd(k1s, ds, a1)
      ds = v128.load32_splat(at, 4)
      b0 = madd(k0s, ds, b0)
      b1 = madd(k1s, ds, b1)
      ds = v128.load32_splat(at, 8)
      c0 = madd(k0s, ds, c0)
      c1 = madd(k1s, ds, c1)
      ds = v128.load32_splat(at, 12)
      d0 = madd(k0s, ds, d0)
      d1 = madd(k1s, ds, d1)
      row += 32
      at += 32
    } while (at < last)
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

/** `outerRows` for all eight queries where anything may be NaN or infinite: only keys whose allow bit is set count. Same bits otherwise. */
export function outerRowsExtreme(s: usize, x: usize, panel: usize, y: usize, stride: usize, keys: i32, width: i32, allow: usize): void {
  for (; width > 0; width -= 8, x += panel, y += 32) {
    for (let r: usize = 0; r < 8; r++) {
      const to = y + r * stride
      let a0 = v128.load(to), a1 = v128.load(to, 16)
      for (let j: usize = 0; j < <usize>keys; j++) {
        if (!((<usize>load<u8>(allow + j) >> r) & 1)) continue
        const weight = v128.load32_splat(s + (j << 5) + (r << 2))
        a0 = madd(v128.load(x + (j << 5)), weight, a0)
        a1 = madd(v128.load(x + (j << 5), 16), weight, a1)
      }
      v128.store(to, a0)
      v128.store(to, a1, 16)
    }
  }
}
