import { ACTIVATION_GELU, ACTIVATION_GELU_TANH, ACTIVATION_RELU, ACTIVATION_SILU, ACTIVATION_TANH } from './abi'
import { expVector } from './exp'
import { madd, splat } from './lanes'

/**
 * Gradients of activations: dy ∘= f′(x) over `count` elements. f′ is that of
 * ReLU: 1 for x > 0, else 0;
 * GELU, exact (Hendrycks and Gimpel 2016): Φ(x) + x·φ(x), the normal distribution and its density;
 * GELU, tanh form: σ(2u) + 2·x·u′·σ(2u)·(1 − σ(2u)) with u = √(2/π)·(x + 0.044715·x³);
 * SiLU: σ(x)·(1 + x·(1 − σ(x)));
 * tanh: 1 − tanh²(x) = 4u/(1 + u)² with u = e^(−2|x|), which keeps its digits far from 0.
 * GELU and SiLU are h(|x|) for negative x and 1 − h(|x|) for others, with h(t) = f′(−t): no tail is a difference of two
 * numbers near 1. Absolute error of f′ up to 2e-7; f′(−∞) = 0, f′(∞) = 1 (of tanh 0), NaN stays NaN. The product is IEEE's, 0·∞ = NaN.
 *
 * @param x [count], the activation's input
 * @param activation one of abi.ts's ACTIVATION_…, not ACTIVATION_NONE
 * @param dy [count], updated
 */
export function activateBackwardRows(x: usize, count: i32, activation: i32, dy: usize): void {
  if (activation == ACTIVATION_RELU) timesSlope(x, count, ACTIVATION_RELU, dy)
  else if (activation == ACTIVATION_GELU) timesSlope(x, count, ACTIVATION_GELU, dy)
  else if (activation == ACTIVATION_GELU_TANH) timesSlope(x, count, ACTIVATION_GELU_TANH, dy)
  else if (activation == ACTIVATION_TANH) timesSlope(x, count, ACTIVATION_TANH, dy)
  else timesSlope(x, count, ACTIVATION_SILU, dy)
}

// @ts-ignore: decorator
@inline
function timesSlope(x: usize, count: i32, activation: i32, dy: usize): void {
  const end = x + (<usize>count << 2)
  const wholeEnd = x + (<usize>(count & ~3) << 2)
  for (; x < wholeEnd; x += 16, dy += 16) v128.store(dy, f32x4.mul(v128.load(dy), slope(v128.load(x), activation)))
  for (; x < end; x += 4, dy += 4) {
    v128.store_lane<f32>(dy, f32x4.mul(v128.load32_zero(dy), slope(v128.load32_zero(x), activation)), 0)
  }
}

// @ts-ignore: decorator
@inline
function slope(x: v128, activation: i32): v128 {
  const zero = i32x4.splat(0)
  let result: v128
  if (activation == ACTIVATION_RELU) {
    result = v128.and(f32x4.splat(1), f32x4.gt(x, zero))
  } else if (activation == ACTIVATION_TANH) {
    result = tanhSlope(f32x4.abs(x))
  } else {
    let h: v128
    if (activation == ACTIVATION_GELU) h = geluTail(f32x4.abs(x))
    else if (activation == ACTIVATION_GELU_TANH) h = geluTanhTail(f32x4.abs(x))
    else h = siluTail(f32x4.abs(x))
    result = v128.bitselect(h, f32x4.sub(f32x4.splat(1), h), f32x4.lt(x, zero))
  }
  return v128.bitselect(result, x, f32x4.eq(x, x))
}

// @ts-ignore: decorator
@inline
function tanhSlope(t: v128): v128 {
  const u = expVector(f32x4.mul(f32x4.pmin(t, f32x4.splat(45)), f32x4.splat(-2)))
  const inverse = f32x4.div(f32x4.splat(2), f32x4.add(f32x4.splat(1), u))
  return f32x4.mul(f32x4.mul(u, inverse), inverse)
}

/**
 * Mills' ratio Φ(−t)/φ(t) = P(t)/Q(t) up to t = 14, relative error 1.8e-8, fitted here: P from degree 4 to 0, then Q from
 * degree 5 to 1 (its last is 1). All are positive, so nothing cancels.
 */
const MILLS: usize = memory.data<f32>([
  0.01022105012089014, 0.1011989489197731, 0.4573638439178467, 1.0960252285003662, 1.2533141374588013,
  0.010220921598374844, 0.10120575875043869, 0.46742895245552063, 1.1992905139923096, 1.6723865270614624,
], 16)

/** Φ(−t) − t·φ(t) = φ(t)·(Φ(−t)/φ(t) − t); φ is 0 from t = 13.2 on. */
// @ts-ignore: decorator
@inline
function geluTail(t: v128): v128 {
  const one = f32x4.splat(1)
  t = f32x4.pmin(t, f32x4.splat(14))
  let above = madd(splat(MILLS), t, splat(MILLS + 4))
  above = madd(above, t, splat(MILLS + 8))
  above = madd(above, t, splat(MILLS + 12))
  above = madd(above, t, splat(MILLS + 16))
  let below = madd(splat(MILLS + 20), t, splat(MILLS + 24))
  below = madd(below, t, splat(MILLS + 28))
  below = madd(below, t, splat(MILLS + 32))
  below = madd(below, t, splat(MILLS + 36))
  below = madd(below, t, one)
  const density = f32x4.mul(expVector(f32x4.mul(f32x4.mul(t, t), f32x4.splat(-0.5))), f32x4.splat(0.3989422804014327))
  return f32x4.mul(density, f32x4.sub(f32x4.div(above, below), t))
}

/** h of the tanh form; e^(−2u) is 0 from t = 10 on. */
// @ts-ignore: decorator
@inline
function geluTanhTail(t: v128): v128 {
  t = f32x4.pmin(t, f32x4.splat(11))
  const one = f32x4.splat(1), square = f32x4.mul(t, t)
  // 2·√(2/π), and −2·√(2/π) for the exponent
  const twice = f32x4.mul(t, f32x4.splat(1.5957691216057308))
  const exponent = f32x4.neg(f32x4.mul(twice, madd(square, f32x4.splat(0.044715), one)))
  return logisticTail(exponent, f32x4.mul(twice, madd(square, f32x4.splat(0.134145), one)))
}

// @ts-ignore: decorator
@inline
function siluTail(t: v128): v128 {
  t = f32x4.pmin(t, f32x4.splat(90))
  return logisticTail(f32x4.neg(t), t)
}

/** σ(exponent)·(1 − slope·(1 − σ(exponent))) for exponent ≤ 0. */
// @ts-ignore: decorator
@inline
function logisticTail(exponent: v128, slope: v128): v128 {
  const one = f32x4.splat(1)
  const e = expVector(exponent)
  const inverse = f32x4.div(one, f32x4.add(one, e))
  return f32x4.mul(f32x4.mul(e, inverse), f32x4.sub(one, f32x4.mul(slope, inverse)))
}
