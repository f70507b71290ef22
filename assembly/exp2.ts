import { madd } from './lanes'

/**
 * 2ˣ for x ≤ 0: a degree-5 minimax polynomial on [−½, ½] after rounding by a magic number, relative error 1.9e-7.
 * The exponent is raised to −64 first: smaller powers would make subnormal products, and 2⁻⁶⁴ vanishes beside the row's own 2⁰.
 * NaN stays NaN as long as its payload is 0 in the low bits (the canonical one is): they are added to the exponent.
 */

/** Magic number, coefficients from degree 0 to 5. */
export const EXP2: usize = memory.data<f32>([12582912, 1, 0.6931470036506653, 0.24022242426872253, 0.05550733581185341, 0.009671512991189957, 0.001326472731307149], 16)

/**
 * factor·x rounded to an integer, plus the magic number: shifted left by 23 bits it is what an exponent grows by. Multiplying
 * here, not in the products, keeps large scores exact to their last bit.
 */
// @ts-ignore: decorator
@inline
export function exp2Shifted(x: v128, factor: v128, magic: v128): v128 {
  return madd(x, factor, magic)
}

/** What rounding left of factor·x, in [−½, ½]. */
// @ts-ignore: decorator
@inline
export function exp2Rest(x: v128, factor: v128, magic: v128, shifted: v128): v128 {
  return madd(x, factor, f32x4.sub(magic, shifted))
}

/** 2^rest; exactly 1 at 0. By pairs (Estrin): a shorter chain than Horner's. */
// @ts-ignore: decorator
@inline
export function exp2Polynomial(rest: v128, c0: v128, c1: v128, c2: v128, c3: v128, c4: v128, c5: v128): v128 {
  const square = f32x4.mul(rest, rest)
  const upper = madd(square, madd(c5, rest, c4), madd(c3, rest, c2))
  return madd(square, upper, madd(c1, rest, c0))
}

/** 2^(factor·x), factor·x raised to −64, of one vector: for where constants need not stay in registers. */
// @ts-ignore: decorator
@inline
export function exp2Vector(x: v128, factor: v128, floor: v128): v128 {
  const raised = f32x4.pmax(x, floor)
  const magic = v128.load32_splat(EXP2)
  const shifted = exp2Shifted(raised, factor, magic)
  const power = exp2Polynomial(
    exp2Rest(raised, factor, magic, shifted), v128.load32_splat(EXP2, 4), v128.load32_splat(EXP2, 8), v128.load32_splat(EXP2, 12),
    v128.load32_splat(EXP2, 16), v128.load32_splat(EXP2, 20), v128.load32_splat(EXP2, 24),
  )
  return i32x4.add(power, i32x4.shl(shifted, 23))
}
