/** Row-wise sums and factors that the backward pass needs beside its tiles. */

/**
 * to[r] = Σ_c a[r][c]·b[r][c]: four sums, of every fourth column each, then those of the columns left over.
 *
 * @param a, b [rows][width], row-major; strides in elements
 * @param to f32 [rows], written
 */
export function dotRows(a: usize, strideA: i32, b: usize, strideB: i32, rows: i32, width: i32, to: usize): void {
  const nextA = <usize>strideA << 2, nextB = <usize>strideB << 2
  for (; rows > 0; rows--, a += nextA, b += nextB, to += 4) {
    let at: usize = 0
    let sums = f32x4.splat(0)
    for (const fours = <usize>(width & ~3) << 2; at < fours; at += 16) {
      sums = f32x4.add(sums, f32x4.mul(v128.load(a + at), v128.load(b + at)))
    }
    let sum = f32x4.extract_lane(sums, 0) + f32x4.extract_lane(sums, 1) + (f32x4.extract_lane(sums, 2) + f32x4.extract_lane(sums, 3))
    for (const end = <usize>width << 2; at < end; at += 4) sum += load<f32>(a + at) * load<f32>(b + at)
    store<f32>(to, sum)
  }
}

/** x[r][c] = factors[r]·x[r][c] for rows of whole fours. @param stride in elements, a multiple of 4 @param factors f32 [rows] */
export function scaleEachRow(x: usize, stride: i32, rows: i32, factors: usize): void {
  for (; rows > 0; rows--, factors += 4) {
    const factor = v128.load32_splat(factors)
    for (const end = x + (<usize>stride << 2); x < end; x += 16) v128.store(x, f32x4.mul(v128.load(x), factor))
  }
}

/** Multiplies `count` floats by `factor`, in place. @param at a multiple of 4 */
export function scaleFloats(at: usize, count: i32, factor: f32): void {
  const factors = f32x4.splat(factor)
  for (; count >= 4; count -= 4, at += 16) v128.store(at, f32x4.mul(v128.load(at), factors))
  for (; count > 0; count--, at += 4) store<f32>(at, load<f32>(at) * factor)
}
