import { madd } from './lanes'
import { acrossLanes, inverseDeviation, sumRow } from './row-statistics'

/**
 * Gradient of layer norm with respect to its input (Ba et al. 2016). With x̂ = (x − mean)/√(variance + epsilon) and g = dy∘w:
 * dx = (g − mean(g) − x̂·mean(g∘x̂))/√(variance + epsilon), over each row. Mean and variance are computed again, as `normRows`
 * computes them. A row's sums run in the same order in any tile.
 *
 * @param x [rows, size], the norm's input
 * @param dy [rows, size]
 * @param weight [size], or 0 for ones
 * @param dx [rows, size]; may be dy or x
 */
export function normBackwardRows(x: usize, dy: usize, rows: i32, size: i32, weight: usize, epsilon: f32, dx: usize): void {
  const rowBytes = <usize>size << 2
  for (let row = 0; row < rows; row++) {
    const mean = sumRow(x, size) / <f32>size
    const inverse = inverseDeviation(x, size, mean, epsilon)
    if (weight == 0) backwardRow(x, dy, size, mean, inverse, 0, false, true, dx)
    else backwardRow(x, dy, size, mean, inverse, weight, true, true, dx)
    x += rowBytes
    dy += rowBytes
    dx += rowBytes
  }
}

/**
 * Gradient of RMS norm with respect to its input (Zhang and Sennrich 2019): with x̂ = x/√(mean(x²) + epsilon),
 * dx = (g − x̂·mean(g∘x̂))/√(mean(x²) + epsilon). Arguments as above.
 */
export function rmsNormBackwardRows(x: usize, dy: usize, rows: i32, size: i32, weight: usize, epsilon: f32, dx: usize): void {
  const rowBytes = <usize>size << 2
  for (let row = 0; row < rows; row++) {
    const inverse = inverseDeviation(x, size, 0, epsilon)
    if (weight == 0) backwardRow(x, dy, size, 0, inverse, 0, false, false, dx)
    else backwardRow(x, dy, size, 0, inverse, weight, true, false, dx)
    x += rowBytes
    dy += rowBytes
    dx += rowBytes
  }
}

/** Of both norms: without `centred` the mean of the gradients is left out, and `mean` is 0. */
// @ts-ignore: decorator
@inline
function backwardRow(
  x: usize, dy: usize, size: i32, mean: f32, inverse: f32, weight: usize, weighted: bool, centred: bool, dx: usize,
): void {
  const center = f32x4.splat(mean), factor = f32x4.splat(inverse)
  const end = <usize>size << 2, fours = end & ~15, eights = end & ~31
  let gradients = f32x4.splat(0), products = gradients, moreGradients = gradients, moreProducts = gradients
  let at: usize = 0
  for (; at < eights; at += 32) {
    const left = gradient(v128.load(dy + at), weight + at, weighted)
    const right = gradient(v128.load(dy + at, 16), weight + at + 16, weighted)
    gradients = f32x4.add(gradients, left)
    moreGradients = f32x4.add(moreGradients, right)
    products = madd(left, normalised(v128.load(x + at), center, factor), products)
    moreProducts = madd(right, normalised(v128.load(x + at, 16), center, factor), moreProducts)
  }
  let sum = acrossLanes(f32x4.add(gradients, moreGradients))
  let moment = acrossLanes(f32x4.add(products, moreProducts))
  for (; at < end; at += 4) {
    const g = lastGradient(v128.load32_zero(dy + at), weight + at, weighted)
    sum += f32x4.extract_lane(g, 0)
    moment += f32x4.extract_lane(f32x4.mul(g, normalised(v128.load32_zero(x + at), center, factor)), 0)
  }
  const meanGradient = f32x4.splat(centred ? sum / <f32>size : 0), meanProduct = f32x4.splat(moment / <f32>size)
  for (at = 0; at < fours; at += 16) {
    const g = gradient(v128.load(dy + at), weight + at, weighted)
    v128.store(dx + at, inputGradient(g, normalised(v128.load(x + at), center, factor), meanGradient, meanProduct, factor))
  }
  for (; at < end; at += 4) {
    const g = lastGradient(v128.load32_zero(dy + at), weight + at, weighted)
    const hat = normalised(v128.load32_zero(x + at), center, factor)
    v128.store_lane<f32>(dx + at, inputGradient(g, hat, meanGradient, meanProduct, factor), 0)
  }
}

// @ts-ignore: decorator
@inline
function gradient(dy: v128, weight: usize, weighted: bool): v128 {
  return weighted ? f32x4.mul(dy, v128.load(weight)) : dy
}

// @ts-ignore: decorator
@inline
function lastGradient(dy: v128, weight: usize, weighted: bool): v128 {
  return weighted ? f32x4.mul(dy, v128.load32_zero(weight)) : dy
}

// @ts-ignore: decorator
@inline
function normalised(x: v128, center: v128, factor: v128): v128 {
  return f32x4.mul(f32x4.sub(x, center), factor)
}

/** (g − mean(g) − x̂·mean(g∘x̂))·factor */
// @ts-ignore: decorator
@inline
function inputGradient(g: v128, hat: v128, meanGradient: v128, meanProduct: v128, factor: v128): v128 {
  const rest = f32x4.sub(g, meanGradient)
  return f32x4.mul(madd(f32x4.neg(hat), meanProduct, rest), factor)
}
