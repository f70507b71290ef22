import { ACTIVATION_GELU, ACTIVATION_RELU, ACTIVATION_SILU } from './abi'
import { madd } from './lanes'
import { silu } from './silu'
import { tanhVector } from './tanh'

/** erf(x) = x·P(x²)/Q(x²) up to |x| = 3.925, absolute error 2e-8 before rounding; P then Q from degree 5 to 0, fitted here. */
const ERF: usize = memory.data<f32>([
  2.045988367171958e-06, 0.00028485042275860906, 0.0037728205788880587, 0.05277012288570404, 0.1905999630689621, 1.1283791065216064,
  3.804773587035015e-05, 0.0011639251606538892, 0.014983735047280788, 0.11418528854846954, 0.5022475719451904, 1,
], 16)

/**
 * Applies an activation to `count` elements in place: ReLU max(x, 0); GELU x·Φ(x) (Hendrycks and Gimpel 2016), exact or by
 * its tanh form; SiLU x·σ(x). NaN stays NaN.
 *
 * @param x [count]
 * @param activation one of abi.ts's ACTIVATION_…
 */
export function activateRows(x: usize, count: i32, activation: i32): void {
  const end = x + (<usize>count << 2)
  const wholeEnd = x + (<usize>(count & ~3) << 2)
  if (activation == ACTIVATION_RELU) {
    for (; x < wholeEnd; x += 16) v128.store(x, f32x4.max(v128.load(x), f32x4.splat(0)))
  } else if (activation == ACTIVATION_GELU) {
    for (; x < wholeEnd; x += 16) v128.store(x, gelu(v128.load(x)))
  } else if (activation == ACTIVATION_SILU) {
    for (; x < wholeEnd; x += 16) v128.store(x, silu(v128.load(x)))
  } else {
    for (; x < wholeEnd; x += 16) v128.store(x, geluTanh(v128.load(x)))
  }
  for (; x < end; x += 4) {
    const value = f32x4.splat(load<f32>(x))
    let result = f32x4.max(value, f32x4.splat(0))
    if (activation == ACTIVATION_GELU) result = gelu(value)
    else if (activation == ACTIVATION_SILU) result = silu(value)
    else if (activation != ACTIVATION_RELU) result = geluTanh(value)
    store<f32>(x, f32x4.extract_lane(result, 0))
  }
}

// @ts-ignore: decorator
@inline
function gelu(x: v128): v128 {
  const half = f32x4.mul(x, f32x4.splat(0.5))
  return madd(half, erf(f32x4.mul(x, f32x4.splat(0.7071067811865476))), half)
}

// @ts-ignore: decorator
@inline
function geluTanh(x: v128): v128 {
  const half = f32x4.mul(x, f32x4.splat(0.5))
  const cubic = madd(f32x4.mul(f32x4.mul(x, x), x), f32x4.splat(0.044715), x)
  return madd(half, tanhVector(f32x4.mul(cubic, f32x4.splat(0.7978845608028654))), half)
}

// @ts-ignore: decorator
@inline
function erf(x: v128): v128 {
  const limit = f32x4.splat(3.925)
  const clamped = f32x4.max(f32x4.min(x, limit), f32x4.neg(limit))
  const square = f32x4.mul(clamped, clamped)
  return f32x4.div(f32x4.mul(clamped, quintic(square, ERF)), quintic(square, ERF + 24))
}

/** A polynomial of degree 5; coefficients from the highest. */
// @ts-ignore: decorator
@inline
function quintic(x: v128, coefficients: usize): v128 {
  let sum = madd(v128.load32_splat(coefficients), x, v128.load32_splat(coefficients, 4))
  sum = madd(sum, x, v128.load32_splat(coefficients, 8))
  sum = madd(sum, x, v128.load32_splat(coefficients, 12))
  sum = madd(sum, x, v128.load32_splat(coefficients, 16))
  return madd(sum, x, v128.load32_splat(coefficients, 20))
}
