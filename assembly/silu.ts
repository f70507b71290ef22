import { expVector } from './exp'

/** SiLU, x·σ(x) (Elfwing et al. 2017; Hendrycks and Gimpel 2016), relative error 4e-7 above −87 and 0 below. NaN stays NaN. */
// @ts-ignore: decorator
@inline
export function silu(x: v128): v128 {
  const e = expVector(f32x4.neg(f32x4.abs(x)))
  // Raised, because −∞·0 would be NaN.
  const negative = f32x4.mul(f32x4.max(x, f32x4.splat(-90)), e)
  const above = v128.bitselect(negative, x, f32x4.lt(x, i32x4.splat(0)))
  return f32x4.div(above, f32x4.add(f32x4.splat(1), e))
}
