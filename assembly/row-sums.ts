/**
 * to[c] = Σ_r x[r][c], in row order: column sums, for the gradients of biases and norm weights.
 *
 * @param x [rows, width]
 * @param to [width], overwritten; 0 where there are no rows. Must not overlap x
 */
export function sumColumns(x: usize, rows: i32, width: i32, to: usize): void {
  const rowBytes = <usize>width << 2
  let below = x + <usize>rows * rowBytes
  let left = width
  for (; left >= 16; left -= 16, x += 64, below += 64, to += 64) {
    let a = i32x4.splat(0), b = a, c = a, d = a
    for (let at = x; at < below; at += rowBytes) {
      a = f32x4.add(a, v128.load(at))
      b = f32x4.add(b, v128.load(at, 16))
      c = f32x4.add(c, v128.load(at, 32))
      d = f32x4.add(d, v128.load(at, 48))
    }
    v128.store(to, a)
    v128.store(to, b, 16)
    v128.store(to, c, 32)
    v128.store(to, d, 48)
  }
  for (; left >= 4; left -= 4, x += 16, below += 16, to += 16) {
    let a = i32x4.splat(0)
    for (let at = x; at < below; at += rowBytes) a = f32x4.add(a, v128.load(at))
    v128.store(to, a)
  }
  for (; left > 0; left--, x += 4, below += 4, to += 4) {
    let a: f32 = 0
    for (let at = x; at < below; at += rowBytes) a += load<f32>(at)
    store<f32>(to, a)
  }
}
