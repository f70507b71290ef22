import { philox, WORDS } from './philox'

/**
 * Dropout of rows by counter, in place: element c of row r is kept when word c mod 4 of Philox's counter
 * (⌊c/4⌋, row + r, batch, site) is ≥ threshold, and then multiplied by keepScale; others become 0. The mask is a function of
 * the counter alone, so the gradient is the same call on the gradient.
 *
 * The product is a float64 one, rounded once: keepScale = 1/(1 − probability) is no float32, as JavaScript computes it.
 *
 * @param x [rows, width], updated
 * @param row counter of the first row
 * @param threshold unsigned; 2³² (all dropped) does not fit: keepScale 0 drops everything, whatever the threshold
 * @param keepScale 0 writes zeros, NaN included
 */
export function dropRows(
  x: usize, rows: i32, width: i32, row: i32, batch: i32, site: i32, threshold: u32, keepScale: f64, seedLow: i32, seedHigh: i32,
): void {
  if (keepScale == 0) {
    memory.fill(x, 0, (<usize>rows * <usize>width) << 2)
    return
  }
  const least = i32x4.splat(threshold), scale = f64x2.splat(keepScale)
  for (const last = row + rows; row != last; row++) {
    for (let column = 0; column < width; column += 16) {
      philox(i32x4.add(i32x4.splat(column >> 2), i32x4(0, 1, 2, 3)), i32x4.splat(row), i32x4.splat(batch), i32x4.splat(site), seedLow, seedHigh)
      transposeWords()
      let words = WORDS
      const end = x + (<usize>min(16, width - column) << 2)
      for (; x + 16 <= end; x += 16, words += 16) v128.store(x, dropped(v128.load(x), v128.load(words), least, scale))
      for (; x < end; x += 4, words += 4) v128.store_lane<f32>(x, dropped(v128.load32_zero(x), v128.load32_zero(words), least, scale), 0)
    }
  }
}

/** From [word][counter] to [counter][word]: the order of the columns. */
// @ts-ignore: decorator
@inline
function transposeWords(): void {
  const x0 = v128.load(WORDS), x1 = v128.load(WORDS, 16), x2 = v128.load(WORDS, 32), x3 = v128.load(WORDS, 48)
  const y0 = v128.shuffle<i32>(x0, x1, 0, 4, 1, 5), y1 = v128.shuffle<i32>(x0, x1, 2, 6, 3, 7)
  const y2 = v128.shuffle<i32>(x2, x3, 0, 4, 1, 5), y3 = v128.shuffle<i32>(x2, x3, 2, 6, 3, 7)
  v128.store(WORDS, v128.shuffle<i32>(y0, y2, 0, 1, 4, 5))
  v128.store(WORDS, v128.shuffle<i32>(y0, y2, 2, 3, 6, 7), 16)
  v128.store(WORDS, v128.shuffle<i32>(y1, y3, 0, 1, 4, 5), 32)
  v128.store(WORDS, v128.shuffle<i32>(y1, y3, 2, 3, 6, 7), 48)
}

// @ts-ignore: decorator
@inline
function dropped(x: v128, words: v128, least: v128, scale: v128): v128 {
  const low = f32x4.demote_f64x2_zero(f64x2.mul(f64x2.promote_low_f32x4(x), scale))
  const high = f32x4.demote_f64x2_zero(f64x2.mul(f64x2.promote_low_f32x4(v128.shuffle<i32>(x, x, 2, 3, 2, 3)), scale))
  return v128.and(v128.shuffle<i32>(low, high, 0, 1, 4, 5), i32x4.ge_u(words, least))
}
