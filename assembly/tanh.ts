import { exp2Vector } from './exp2'
import { madd } from './lanes'

/** x + x³·P(x²), relative error 6e-9 up to 0.64: coefficients from degree 4 to 0, fitted here. */
const NEAR: usize = memory.data<f32>([-0.0056039136834442616, 0.020551718771457672, -0.05371410772204399, 0.13331152498722076, -0.33333271741867065], 16)

/** tanh(x): the polynomial near 0, sign(x)·(1 − 2/(e^{2|x|} + 1)) beyond, as 1 − 2u/(1 + u) with u = e^{−2|x|}. NaN stays NaN. */
// @ts-ignore: decorator
@inline
export function tanhVector(x: v128): v128 {
  const magnitude = f32x4.abs(x)
  const square = f32x4.mul(x, x)
  let near = madd(v128.load32_splat(NEAR), square, v128.load32_splat(NEAR, 4))
  near = madd(near, square, v128.load32_splat(NEAR, 8))
  near = madd(near, square, v128.load32_splat(NEAR, 12))
  near = madd(near, square, v128.load32_splat(NEAR, 16))
  near = madd(f32x4.mul(near, square), x, x)
  const u = exp2Vector(f32x4.neg(magnitude), f32x4.splat(2.8853900817779268), f32x4.splat(-22.18070977791825))
  const one = f32x4.splat(1)
  const ratio = f32x4.div(f32x4.add(u, u), f32x4.add(one, u))
  const sign = v128.and(x, i32x4.splat(0x80000000))
  const far = v128.or(f32x4.sub(one, ratio), sign)
  const result = v128.bitselect(near, far, f32x4.lt(magnitude, f32x4.splat(0.64)))
  // A NaN's payload would have become part of an exponent.
  return v128.bitselect(result, x, f32x4.eq(x, x))
}
