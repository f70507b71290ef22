/**
 * Rotary positions (Su et al. 2021), in place, for the first R elements of every head of every row:
 * (x_c, x_{c + R/2}) → (x_c·cos − x_{c + R/2}·sin, x_{c + R/2}·cos + x_c·sin). Products are rounded before they are added, in
 * both binaries, so that the bits are those of plain float32 code.
 *
 * @param x [rows, width], updated; width is a multiple of headSize
 * @param headSize D
 * @param turned R, even, up to D; the other elements stay
 * @param angles [rows][R]: R/2 cosines, then R/2 sines of the row's position
 * @param direction 1, or −1 to turn back: the inverse and the gradient
 */
export function rotateRows(x: usize, rows: i32, width: i32, headSize: i32, turned: i32, angles: usize, direction: f32): void {
  const half = <usize>(turned >> 1) << 2
  const fours = half & ~15
  const headBytes = <usize>headSize << 2, rowBytes = <usize>width << 2, angleBytes = <usize>turned << 2
  const turns = f32x4.splat(direction)
  for (let row = 0; row < rows; row++, angles += angleBytes) {
    for (const end = x + rowBytes; x < end; x += headBytes) {
      let at: usize = 0
      for (; at < fours; at += 16) {
        const cosine = v128.load(angles + at), sine = f32x4.mul(v128.load(angles + half + at), turns)
        const first = v128.load(x + at), second = v128.load(x + half + at)
        v128.store(x + at, turnedFirst(first, second, cosine, sine))
        v128.store(x + half + at, turnedSecond(first, second, cosine, sine))
      }
      for (; at < half; at += 4) {
        const cosine = v128.load32_zero(angles + at), sine = f32x4.mul(v128.load32_zero(angles + half + at), turns)
        const first = v128.load32_zero(x + at), second = v128.load32_zero(x + half + at)
        v128.store_lane<f32>(x + at, turnedFirst(first, second, cosine, sine), 0)
        v128.store_lane<f32>(x + half + at, turnedSecond(first, second, cosine, sine), 0)
      }
    }
  }
}

// @ts-ignore: decorator
@inline
function turnedFirst(first: v128, second: v128, cosine: v128, sine: v128): v128 {
  return f32x4.sub(f32x4.mul(first, cosine), f32x4.mul(second, sine))
}

// @ts-ignore: decorator
@inline
function turnedSecond(first: v128, second: v128, cosine: v128, sine: v128): v128 {
  return f32x4.add(f32x4.mul(second, cosine), f32x4.mul(first, sine))
}
