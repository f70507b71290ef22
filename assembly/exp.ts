import { madd, splat } from './lanes'

/**
 * e^x for x ≤ 88, relative error 1.2e-7; 0 below −87, where float32 has no more normal numbers. NaN stays NaN.
 *
 * x = n·ln 2 + r with ln 2 in two parts (Cody and Waite 1980), so that no digit of r is lost where x is large, and
 * e^r = 1 + r + r²·Q(r) on |r| ≤ ½·ln 2, exactly 1 at 0. Q is fitted here, relative error 3.1e-9. Attention has the faster
 * exp2.ts, which a sum beside its own largest term may use.
 */

/** Magic number, log2(e), −ln 2 in two parts, the coefficients of Q from degree 4 to 0. */
const EXP: usize = memory.data<f32>([
  12582912, 1.4426950408889634, -0.693145751953125, -1.4286067653e-06,
  0.001381455920636654, 0.008368735201656818, 0.04166838899254799, 0.1666652113199234, 0.4999999403953552,
], 16)

// @ts-ignore: decorator
@inline
export function expVector(x: v128): v128 {
  const floor = f32x4.splat(-87)
  const raised = f32x4.pmax(x, floor)
  const magic = splat(EXP)
  const shifted = f32x4.add(f32x4.mul(raised, splat(EXP + 4)), magic)
  const n = f32x4.sub(shifted, magic)
  const rest = madd(n, splat(EXP + 12), madd(n, splat(EXP + 8), raised))
  let q = madd(splat(EXP + 16), rest, splat(EXP + 20))
  q = madd(q, rest, splat(EXP + 24))
  q = madd(q, rest, splat(EXP + 28))
  q = madd(q, rest, splat(EXP + 32))
  const power = f32x4.add(f32x4.splat(1), madd(f32x4.mul(rest, rest), q, rest))
  const result = v128.andnot(i32x4.add(power, i32x4.shl(shifted, 23)), f32x4.lt(x, floor))
  // A NaN's payload would have become part of an exponent.
  return v128.bitselect(result, x, f32x4.eq(x, x))
}
