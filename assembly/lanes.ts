/** a·b + c, fused where the binary is the relaxed one: the only place where the two binaries differ. */
// @ts-ignore: decorator
@inline
export function madd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c)
  return f32x4.add(c, f32x4.mul(a, b))
}

/** Finite, so that the difference of two maxima is never NaN. */
// @ts-ignore: decorator
@inline
export const LOWEST: f32 = -3.4028234663852886e38

/** A 32-bit word in every lane, read from memory: a literal would be made again at each use inside a loop. */
// @ts-ignore: decorator
@inline
export function splat(address: usize): v128 {
  return v128.load32_splat(address)
}

/** lanes[bits] is the lane mask of four bits, 16 bytes each. */
export const LANE_MASKS: usize = memory.data<i32>([
  0, 0, 0, 0, -1, 0, 0, 0, 0, -1, 0, 0, -1, -1, 0, 0,
  0, 0, -1, 0, -1, 0, -1, 0, 0, -1, -1, 0, -1, -1, -1, 0,
  0, 0, 0, -1, -1, 0, 0, -1, 0, -1, 0, -1, -1, -1, 0, -1,
  0, 0, -1, -1, -1, 0, -1, -1, 0, -1, -1, -1, -1, -1, -1, -1,
], 16)

/** The lane mask of queries 0 … 3 of an allow byte. */
// @ts-ignore: decorator
@inline
export function lowLanes(allow: u32): v128 {
  return v128.load(LANE_MASKS + ((<usize>allow & 15) << 4))
}

/** The lane mask of queries 4 … 7 of an allow byte. */
// @ts-ignore: decorator
@inline
export function highLanes(allow: u32): v128 {
  return v128.load(LANE_MASKS + (<usize>allow & 0xf0))
}

/** Four lane masks to an allow nibble each: bits of `low` below those of `high`. */
// @ts-ignore: decorator
@inline
export function toAllow(low: v128, high: v128): u32 {
  return <u32>i32x4.bitmask(low) | (<u32>i32x4.bitmask(high) << 4)
}
