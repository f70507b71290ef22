/** Sums over one row, for the norms: eight chains, added across in one order, in any tile. */

/** Σ x */
// @ts-ignore: decorator
@inline
export function sumRow(x: usize, size: i32): f32 {
  let a = f32x4.splat(0)
  let b = a
  let column = 0
  for (; column + 8 <= size; column += 8, x += 32) {
    a = f32x4.add(a, v128.load(x))
    b = f32x4.add(b, v128.load(x, 16))
  }
  let total = acrossLanes(f32x4.add(a, b))
  for (; column < size; column++, x += 4) total += load<f32>(x)
  return total
}

/** Σ (x − mean)² */
// @ts-ignore: decorator
@inline
export function squaresAround(x: usize, size: i32, mean: f32): f32 {
  const center = f32x4.splat(mean)
  let a = f32x4.splat(0)
  let b = a
  let column = 0
  for (; column + 8 <= size; column += 8, x += 32) {
    const left = f32x4.sub(v128.load(x), center)
    const right = f32x4.sub(v128.load(x, 16), center)
    a = f32x4.add(a, f32x4.mul(left, left))
    b = f32x4.add(b, f32x4.mul(right, right))
  }
  let total = acrossLanes(f32x4.add(a, b))
  for (; column < size; column++, x += 4) {
    const rest = load<f32>(x) - mean
    total += rest * rest
  }
  return total
}

/** 1/√(Σ (x − mean)² / size + epsilon) */
// @ts-ignore: decorator
@inline
export function inverseDeviation(x: usize, size: i32, mean: f32, epsilon: f32): f32 {
  return <f32>1 / sqrt<f32>(squaresAround(x, size, mean) / <f32>size + epsilon)
}

// @ts-ignore: decorator
@inline
export function acrossLanes(x: v128): f32 {
  return f32x4.extract_lane(x, 0) + f32x4.extract_lane(x, 1) + (f32x4.extract_lane(x, 2) + f32x4.extract_lane(x, 3))
}
