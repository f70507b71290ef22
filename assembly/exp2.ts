import { madd } from './lanes'

/**
 * 2ˣ for x ≤ 0: a degree-5 minimax polynomial on [−½, ½] after rounding by a magic number, relative error 1.9e-7.
 * x is raised to −64 first: smaller powers would make subnormal products, and 2⁻⁶⁴ vanishes beside the row's own 2⁰.
 * NaN stays NaN as long as its payload is 0 in the low bits (the canonical one is): they are added to the exponent.
 */

/** Floor, magic number, coefficients from degree 0 to 5. */
export const EXP2: usize = memory.data<f32>([-64, 12582912, 1, 0.6931470036506653, 0.24022242426872253, 0.05550733581185341, 0.009671512991189957, 0.001326472731307149], 16)

/** 2^(factor·x) for factor·x in [−64, 0]. Multiplying here, not in the products, keeps large scores exact to their last bit. */
// @ts-ignore: decorator
@inline
export function exp2Lanes(x: v128, factor: v128, magic: v128, c0: v128, c1: v128, c2: v128, c3: v128, c4: v128, c5: v128): v128 {
  const shifted = madd(x, factor, magic)
  const rest = madd(x, factor, f32x4.sub(magic, shifted))
  const square = f32x4.mul(rest, rest)
  const upper = madd(square, madd(c5, rest, c4), madd(c3, rest, c2))
  const power = madd(square, upper, madd(c1, rest, c0))
  return i32x4.add(power, i32x4.shl(shifted, 23))
}

/** 2^(factor·x), factor·x raised to −64, of one vector: for where constants need not stay in registers. */
// @ts-ignore: decorator
@inline
export function exp2Vector(x: v128, factor: v128, floor: v128): v128 {
  return exp2Lanes(
    f32x4.pmax(x, floor), factor, v128.load32_splat(EXP2, 4), v128.load32_splat(EXP2, 8), v128.load32_splat(EXP2, 12),
    v128.load32_splat(EXP2, 16), v128.load32_splat(EXP2, 20), v128.load32_splat(EXP2, 24), v128.load32_splat(EXP2, 28),
  )
}
