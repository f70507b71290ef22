/**
 * Layer norm (Ba et al. 2016): y = (x − mean)/√(variance + epsilon)·w + b over each row; the variance divides by the size and
 * is taken around the mean in a second pass. A row's sums run in the same order wherever it stands.
 *
 * @param x [rows, size]
 * @param weight [size]
 * @param bias [size]
 * @param y [rows, size]; may be x
 */
export function normRows(x: usize, rows: i32, size: i32, weight: usize, bias: usize, epsilon: f32, y: usize): void {
  const rowBytes = <usize>size << 2
  for (let row = 0; row < rows; row++) {
    const mean = sumRow(x, size) / <f32>size
    const variance = squaresAround(x, size, mean) / <f32>size
    scaleRow(x, size, mean, <f32>1 / sqrt<f32>(variance + epsilon), weight, bias, y)
    x += rowBytes
    y += rowBytes
  }
}

/** y += x over `count` elements. */
export function addRows(x: usize, count: i32, y: usize): void {
  const end = x + (<usize>count << 2)
  const wholeEnd = x + (<usize>(count & ~3) << 2)
  for (; x < wholeEnd; x += 16, y += 16) v128.store(y, f32x4.add(v128.load(y), v128.load(x)))
  for (; x < end; x += 4, y += 4) store<f32>(y, load<f32>(y) + load<f32>(x))
}

// @ts-ignore: decorator
@inline
function sumRow(x: usize, size: i32): f32 {
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

// @ts-ignore: decorator
@inline
function squaresAround(x: usize, size: i32, mean: f32): f32 {
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

// @ts-ignore: decorator
@inline
function scaleRow(x: usize, size: i32, mean: f32, inverse: f32, weight: usize, bias: usize, y: usize): void {
  const center = f32x4.splat(mean)
  const factor = f32x4.splat(inverse)
  let column = 0
  for (; column + 4 <= size; column += 4) {
    const scaled = f32x4.mul(f32x4.sub(v128.load(x), center), factor)
    v128.store(y, f32x4.add(f32x4.mul(scaled, v128.load(weight)), v128.load(bias)))
    x += 16
    y += 16
    weight += 16
    bias += 16
  }
  for (; column < size; column++) {
    store<f32>(y, (load<f32>(x) - mean) * inverse * load<f32>(weight) + load<f32>(bias))
    x += 4
    y += 4
    weight += 4
    bias += 4
  }
}

// @ts-ignore: decorator
@inline
function acrossLanes(x: v128): f32 {
  return f32x4.extract_lane(x, 0) + f32x4.extract_lane(x, 1) + (f32x4.extract_lane(x, 2) + f32x4.extract_lane(x, 3))
}
