import { ACTIVATION_GELU, ACTIVATION_RELU, ACTIVATION_SILU, ACTIVATION_TANH } from './abi'
import { madd } from './lanes'
import { silu } from './silu'
import { tanhVector } from './tanh'

/**
 * GELU is x·Φ(x) = max(x, 0) − w(|x|), where w(z) = z·Φ(−z) falls to 0: nothing cancels, and no sign needs a case of its own.
 * Φ(−z) = ½·erfc(z/√2) = M(z)·e^(−z²/2). M, the Mills ratio over √(2π), is smooth: here P/Q of degrees 4 and 5, fitted by
 * iterated least squares on [0, 13.2] to a relative error of 5e-9, all coefficients positive (the form of Cody 1969, "Rational
 * Chebyshev approximations for the error function"). P then Q, from the highest degree.
 */
const MILLS: usize = memory.data<f32>([
  0.004011687356978655, 0.039926521480083466, 0.18113504350185394, 0.43545326590538025, 0.5,
  0.010055663995444775, 0.10008841753005981, 0.46392714977264404, 1.193768858909607, 1.66879141330719, 1,
], 16)

/** Where w(z) is below the smallest normal number, and e^(−z²/2) is about to be. */
const GELU_END: f32 = 13.19
/** Where the tanh form's w is 0 in float32. */
const GELU_TANH_END: f32 = 11

/** The magic number that rounds, −log₂e, −ln 2 in two parts whose first has few bits, and e^r from degree 6 to 0. */
const EXP: usize = memory.data<f32>([
  12582912, -1.4426950408889634, -0.693359375, 2.12194440e-4,
  0.001381422160193324, 0.00836889911442995, 0.04166840389370918, 0.1666651964187622, 0.4999999403953552, 1, 1,
], 16)

/**
 * Applies an activation to `count` elements in place: ReLU max(x, 0); GELU x·Φ(x) (Hendrycks and Gimpel 2016), exact or by
 * its tanh form; SiLU x·σ(x); tanh, whose relative error is at most 5e-7. The relative error of GELU is at most 5e-7 wherever the result is a normal number, that of the tanh form
 * 5e-7·(1 + 1.6·|x + 0.044715·x³|) below 0; smaller results are within 2⁻¹²⁶ of theirs. −∞ gives 0 (of tanh −1), NaN stays NaN.
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
  } else if (activation == ACTIVATION_TANH) {
    for (; x < wholeEnd; x += 16) v128.store(x, tanhVector(v128.load(x)))
  } else {
    for (; x < wholeEnd; x += 16) v128.store(x, geluTanh(v128.load(x)))
  }
  for (; x < end; x += 4) {
    const value = f32x4.splat(load<f32>(x))
    let result = f32x4.max(value, f32x4.splat(0))
    if (activation == ACTIVATION_GELU) result = gelu(value)
    else if (activation == ACTIVATION_SILU) result = silu(value)
    else if (activation == ACTIVATION_TANH) result = tanhVector(value)
    else if (activation != ACTIVATION_RELU) result = geluTanh(value)
    store<f32>(x, f32x4.extract_lane(result, 0))
  }
}

// @ts-ignore: decorator
@inline
function gelu(x: v128): v128 {
  const end = f32x4.splat(GELU_END)
  const z = f32x4.min(f32x4.abs(x), end)
  // z² is (z − high)(z + high) more than high², which is exact: the last bits of z²/2 would be the first ones of its power.
  const high = v128.and(z, i32x4.splat(0xfffff000))
  const half = f32x4.splat(0.5)
  const square = f32x4.mul(f32x4.mul(high, high), half)
  const rest = f32x4.mul(f32x4.mul(f32x4.sub(z, high), f32x4.add(z, high)), half)
  const ratio = f32x4.div(quartic(z, MILLS), quintic(z, MILLS + 20))
  const w = f32x4.mul(f32x4.mul(z, ratio), fallingExp(square, rest))
  return f32x4.sub(f32x4.max(x, f32x4.splat(0)), v128.and(w, f32x4.lt(z, end)))
}

/** ½·x·(1 + tanh y) = x·σ(2y) = max(x, 0) − |x|·h²/(1 + h²), h = e^(−|y|), y = √(2/π)·(x + 0.044715·x³). */
// @ts-ignore: decorator
@inline
function geluTanh(x: v128): v128 {
  const z = f32x4.min(f32x4.abs(x), f32x4.splat(GELU_TANH_END))
  const cubic = madd(f32x4.mul(f32x4.mul(z, z), z), f32x4.splat(0.044715), z)
  const h = fallingExp(f32x4.mul(cubic, f32x4.splat(0.7978845608028654)), f32x4.splat(0))
  const w = f32x4.div(f32x4.mul(f32x4.mul(z, h), h), madd(h, h, f32x4.splat(1)))
  return f32x4.sub(f32x4.max(x, f32x4.splat(0)), w)
}

/**
 * e^(−a − b) for 0 ≤ a < 87 and |b| ≪ 1, relative error 2e-7: −a is n·ln 2 + r, exactly but for the rounding of n·(ln 2 − its
 * first part); n joins the exponent.
 */
// @ts-ignore: decorator
@inline
function fallingExp(a: v128, b: v128): v128 {
  const magic = v128.load32_splat(EXP)
  const shifted = madd(a, v128.load32_splat(EXP, 4), magic)
  const n = f32x4.sub(shifted, magic)
  const r = f32x4.sub(madd(n, v128.load32_splat(EXP, 12), madd(n, v128.load32_splat(EXP, 8), f32x4.neg(a))), b)
  let sum = madd(v128.load32_splat(EXP, 16), r, v128.load32_splat(EXP, 20))
  sum = madd(sum, r, v128.load32_splat(EXP, 24))
  sum = madd(sum, r, v128.load32_splat(EXP, 28))
  sum = madd(sum, r, v128.load32_splat(EXP, 32))
  sum = madd(sum, r, v128.load32_splat(EXP, 36))
  sum = madd(sum, r, v128.load32_splat(EXP, 40))
  return i32x4.add(sum, i32x4.shl(shifted, 23))
}

/** A polynomial of degree 5; coefficients from the highest. */
// @ts-ignore: decorator
@inline
function quintic(x: v128, coefficients: usize): v128 {
  const highest = madd(v128.load32_splat(coefficients), x, v128.load32_splat(coefficients, 4))
  return fourSteps(highest, x, coefficients + 8)
}

/** A polynomial of degree 4; coefficients from the highest. */
// @ts-ignore: decorator
@inline
function quartic(x: v128, coefficients: usize): v128 {
  return fourSteps(v128.load32_splat(coefficients), x, coefficients + 4)
}

/** Four more steps of Horner's scheme. */
// @ts-ignore: decorator
@inline
function fourSteps(sum: v128, x: v128, coefficients: usize): v128 {
  sum = madd(sum, x, v128.load32_splat(coefficients))
  sum = madd(sum, x, v128.load32_splat(coefficients, 4))
  sum = madd(sum, x, v128.load32_splat(coefficients, 8))
  return madd(sum, x, v128.load32_splat(coefficients, 12))
}
