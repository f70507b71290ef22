import { inverseDeviation, sumRow } from './row-statistics'

/**
 * Layer norm (Ba et al. 2016): y = (x − mean)/√(variance + epsilon)·w + b over each row; the variance divides by the size and
 * is taken around the mean in a second pass. A row's sums run in the same order in any tile.
 *
 * @param x [rows, size]
 * @param weight [size]
 * @param bias [size], or 0 for none
 * @param y [rows, size]; may be x
 */
export function normRows(x: usize, rows: i32, size: i32, weight: usize, bias: usize, epsilon: f32, y: usize): void {
  const rowBytes = <usize>size << 2
  for (let row = 0; row < rows; row++) {
    const mean = sumRow(x, size) / <f32>size
    const inverse = inverseDeviation(x, size, mean, epsilon)
    if (bias == 0) scaleRow(x, size, mean, inverse, weight, 0, false, y)
    else scaleRow(x, size, mean, inverse, weight, bias, true, y)
    x += rowBytes
    y += rowBytes
  }
}

/**
 * Layer norm without weight and bias: x̂ = (x − mean)/√(variance + epsilon), the same bits as inside `normRows`.
 *
 * @param x [rows, size]
 * @param y [rows, size]; may be x
 */
export function normaliseRows(x: usize, rows: i32, size: i32, epsilon: f32, y: usize): void {
  const rowBytes = <usize>size << 2
  for (let row = 0; row < rows; row++) {
    const mean = sumRow(x, size) / <f32>size
    const inverse = inverseDeviation(x, size, mean, epsilon)
    const center = f32x4.splat(mean)
    const factor = f32x4.splat(inverse)
    let at: usize = 0
    for (const fours = <usize>(size & ~3) << 2; at < fours; at += 16) {
      v128.store(y + at, f32x4.mul(f32x4.sub(v128.load(x + at), center), factor))
    }
    for (; at < rowBytes; at += 4) store<f32>(y + at, (load<f32>(x + at) - mean) * inverse)
    x += rowBytes
    y += rowBytes
  }
}

// @ts-ignore: decorator
@inline
function scaleRow(x: usize, size: i32, mean: f32, inverse: f32, weight: usize, bias: usize, biased: bool, y: usize): void {
  const center = f32x4.splat(mean)
  const factor = f32x4.splat(inverse)
  let column = 0
  for (; column + 4 <= size; column += 4) {
    const scaled = f32x4.mul(f32x4.mul(f32x4.sub(v128.load(x), center), factor), v128.load(weight))
    v128.store(y, biased ? f32x4.add(scaled, v128.load(bias)) : scaled)
    x += 16
    y += 16
    weight += 16
    bias += 16
  }
  for (; column < size; column++) {
    const scaled = (load<f32>(x) - mean) * inverse * load<f32>(weight)
    store<f32>(y, biased ? scaled + load<f32>(bias) : scaled)
    x += 4
    y += 4
    weight += 4
    bias += 4
  }
}
