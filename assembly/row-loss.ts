import { expVector } from './exp'
import { acrossLanes } from './row-statistics'

/**
 * Cross-entropy with label smoothing (Szegedy et al. 2016, as PyTorch defines it) of each row z, target t, V = size:
 * loss = log Σ e^z − (1 − ε)·z_t − ε/V·Σ z.
 *
 * Computed around the largest logit m, as log1p(Σ' e^(z − m)) + (1 − ε)·(m − z_t) + ε/V·Σ (m − z), where Σ' leaves one m out:
 * no term is negative, so nothing cancels, however confident the row is. The relative error is a few 1e-7, and 6e-8·(m − z) more
 * in the power of z.
 * Rows with NaN or +∞ are NaN, a target at −∞ costs ∞.
 *
 * @param logits [rows, size]
 * @param targets i32 [rows]: from 0 to size − 1, or ignoreIndex
 * @param smoothing ε
 * @param loss [rows]; 0 where the target is ignoreIndex
 * @param logSumExp [rows], for the gradient; 0 where the target is ignoreIndex
 */
export function crossEntropyRows(
  logits: usize, rows: i32, size: i32, targets: usize, ignoreIndex: i32, smoothing: f32, loss: usize, logSumExp: usize,
): void {
  const rowBytes = <usize>size << 2
  for (const end = loss + (<usize>rows << 2); loss < end; loss += 4) {
    const target = load<i32>(targets)
    if (target == ignoreIndex) {
      store<f32>(loss, 0)
      store<f32>(logSumExp, 0)
    } else {
      const top = largestOf(logits, size)
      // top − top is 0, or NaN where the row has no finite maximum.
      const logarithm = Mathf.log1p(powersBeside(logits, size, top) + (top - top))
      let distance = top - load<f32>(logits + (<usize>target << 2))
      if (smoothing != 0) distance = (<f32>1 - smoothing) * distance + smoothing * (distancesBelow(logits, size, top) / <f32>size)
      store<f32>(loss, logarithm + distance)
      store<f32>(logSumExp, top + logarithm)
    }
    logits += rowBytes
    targets += 4
    logSumExp += 4
  }
}

/**
 * Gradient of the same with respect to the logits, in place: dz = (e^(z − logSumExp) − (1 − ε)·[c = t] − ε/V)·dLoss.
 * e^(z − logSumExp) has the relative error of logSumExp's rounding, 6e-8·|logSumExp|, besides its own 1.2e-7.
 *
 * @param logits [rows, size], updated
 * @param logSumExp [rows]
 * @param dLoss [rows]; rows of ignoreIndex become 0
 */
export function crossEntropyBackwardRows(
  logits: usize, rows: i32, size: i32, targets: usize, ignoreIndex: i32, smoothing: f32, logSumExp: usize, dLoss: usize,
): void {
  const rowBytes = <usize>size << 2
  const share = f32x4.splat(smoothing / <f32>size)
  const rest = f32x4.splat(<f32>1 - smoothing)
  for (const end = dLoss + (<usize>rows << 2); dLoss < end; dLoss += 4) {
    const target = load<i32>(targets)
    if (target == ignoreIndex) {
      memory.fill(logits, 0, rowBytes)
      logits += rowBytes
    } else {
      const logarithm = v128.load32_splat(logSumExp), factor = v128.load32_splat(dLoss)
      const chosen = logits + (<usize>target << 2)
      const excess = f32x4.sub(f32x4.sub(expVector(f32x4.sub(v128.load32_zero(chosen), logarithm)), rest), share)
      const rowEnd = logits + rowBytes
      for (const fours = logits + (rowBytes & ~15); logits < fours; logits += 16) {
        v128.store(logits, gradient(v128.load(logits), logarithm, share, factor))
      }
      for (; logits < rowEnd; logits += 4) v128.store_lane<f32>(logits, gradient(v128.load32_zero(logits), logarithm, share, factor), 0)
      v128.store_lane<f32>(chosen, f32x4.mul(excess, factor), 0)
    }
    targets += 4
    logSumExp += 4
  }
}

// @ts-ignore: decorator
@inline
function gradient(z: v128, logarithm: v128, share: v128, factor: v128): v128 {
  return f32x4.mul(f32x4.sub(expVector(f32x4.sub(z, logarithm)), share), factor)
}

/**
 * loss[r] = Σ_c (x[r][c] − y[r][c])².
 *
 * @param x [rows, width]
 * @param y [rows, width]
 * @param loss [rows]
 */
export function squaredErrorRows(x: usize, y: usize, rows: i32, width: i32, loss: usize): void {
  for (const end = loss + (<usize>rows << 2); loss < end; loss += 4) {
    let a = f32x4.splat(0), b = a
    let column = 0
    for (; column + 8 <= width; column += 8, x += 32, y += 32) {
      const left = f32x4.sub(v128.load(x), v128.load(y))
      const right = f32x4.sub(v128.load(x, 16), v128.load(y, 16))
      a = f32x4.add(a, f32x4.mul(left, left))
      b = f32x4.add(b, f32x4.mul(right, right))
    }
    let total = acrossLanes(f32x4.add(a, b))
    for (; column < width; column++, x += 4, y += 4) {
      const difference = load<f32>(x) - load<f32>(y)
      total += difference * difference
    }
    store<f32>(loss, total)
  }
}

/** The largest element; NaN where there is one. */
// @ts-ignore: decorator
@inline
function largestOf(z: usize, size: i32): f32 {
  const end = z + (<usize>size << 2)
  let top = f32x4.splat(-Infinity)
  for (const fours = z + (<usize>(size & ~3) << 2); z < fours; z += 16) top = f32x4.max(top, v128.load(z))
  for (; z < end; z += 4) top = f32x4.max(top, v128.load32_splat(z))
  return max(max(f32x4.extract_lane(top, 0), f32x4.extract_lane(top, 1)), max(f32x4.extract_lane(top, 2), f32x4.extract_lane(top, 3)))
}

/** Σ e^(z − top) − 1: elements that equal `top` are counted, so that the small ones beside them keep their digits. */
// @ts-ignore: decorator
@inline
function powersBeside(z: usize, size: i32, top: f32): f32 {
  const end = z + (<usize>size << 2)
  const center = f32x4.splat(top)
  let sum = f32x4.splat(0), count = sum
  for (const fours = z + (<usize>(size & ~3) << 2); z < fours; z += 16) {
    const x = v128.load(z), equal = f32x4.eq(x, center)
    count = i32x4.sub(count, equal)
    sum = f32x4.add(sum, v128.andnot(expVector(f32x4.sub(x, center)), equal))
  }
  let total = acrossLanes(sum)
  let equals = i32x4.extract_lane(count, 0) + i32x4.extract_lane(count, 1) + i32x4.extract_lane(count, 2) + i32x4.extract_lane(count, 3)
  for (; z < end; z += 4) {
    if (load<f32>(z) == top) equals++
    else total += f32x4.extract_lane(expVector(f32x4.sub(v128.load32_zero(z), center)), 0)
  }
  return total + <f32>(equals - 1)
}

/** Σ (top − z) */
// @ts-ignore: decorator
@inline
function distancesBelow(z: usize, size: i32, top: f32): f32 {
  const end = z + (<usize>size << 2)
  const center = f32x4.splat(top)
  let sum = f32x4.splat(0)
  for (const fours = z + (<usize>(size & ~3) << 2); z < fours; z += 16) sum = f32x4.add(sum, f32x4.sub(center, v128.load(z)))
  let total = acrossLanes(sum)
  for (; z < end; z += 4) total += top - load<f32>(z)
  return total
}
