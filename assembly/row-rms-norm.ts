import { inverseDeviation } from './row-statistics'

/**
 * RMS norm (Zhang and Sennrich 2019): y = x/√(mean(x²) + epsilon)·w over each row. A row's sums run in the same order
 * in any tile. Its gradient is in row-norm-backward.ts.
 *
 * @param x [rows, size]
 * @param weight [size], or 0 for ones
 * @param y [rows, size]; may be x
 */
export function rmsNormRows(x: usize, rows: i32, size: i32, weight: usize, epsilon: f32, y: usize): void {
  const rowBytes = <usize>size << 2
  for (let row = 0; row < rows; row++) {
    const inverse = inverseDeviation(x, size, 0, epsilon)
    if (weight == 0) scaleRow(x, size, inverse, 0, false, y)
    else scaleRow(x, size, inverse, weight, true, y)
    x += rowBytes
    y += rowBytes
  }
}

/** The same without weight: x̂ = x/√(mean(x²) + epsilon). */
export function rmsNormaliseRows(x: usize, rows: i32, size: i32, epsilon: f32, y: usize): void {
  rmsNormRows(x, rows, size, 0, epsilon, y)
}

// @ts-ignore: decorator
@inline
function scaleRow(x: usize, size: i32, inverse: f32, weight: usize, weighted: bool, y: usize): void {
  const factor = f32x4.splat(inverse)
  const end = <usize>size << 2
  let at: usize = 0
  for (const fours = end & ~15; at < fours; at += 16) {
    const scaled = f32x4.mul(v128.load(x + at), factor)
    v128.store(y + at, weighted ? f32x4.mul(scaled, v128.load(weight + at)) : scaled)
  }
  for (; at < end; at += 4) {
    const scaled = load<f32>(x + at) * inverse
    store<f32>(y + at, weighted ? scaled * load<f32>(weight + at) : scaled)
  }
}
