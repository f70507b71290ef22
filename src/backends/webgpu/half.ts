/** The largest finite float16. */
export const LARGEST_HALF = 65504

/**
 * Writes `source` as float16, two in a word, rounded to nearest, ties to even: within 2⁻¹¹·|x|, or 2⁻²⁵ below 2⁻¹⁴.
 *
 * @param source finite, at most 65504 in magnitude, an even number of them
 */
export function packHalf(source: Float32Array, target: Uint32Array): void {
  const bits = new Uint32Array(source.buffer, source.byteOffset, source.length)
  for (let index = 0; index < target.length; index++) {
    target[index] = halfOf(bits[2 * index] as number) | (halfOf(bits[2 * index + 1] as number) << 16)
  }
}

/** Bits of a float16 from those of a float32. */
function halfOf(bits: number): number {
  const sign = (bits >>> 16) & 0x8000
  const magnitude = bits & 0x7fffffff
  // 2⁻¹⁴, the smallest normal float16, and 2⁻²⁵, which rounds to 0.
  if (magnitude >= 0x38800000) return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13)
  if (magnitude <= 0x33000000) return sign
  const shift = 126 - (magnitude >>> 23)
  const mantissa = (magnitude & 0x7fffff) | 0x800000
  const half = mantissa >>> shift
  const rest = mantissa & ((1 << shift) - 1)
  const middle = 1 << (shift - 1)
  return sign | (half + (rest > middle || (rest === middle && (half & 1) === 1) ? 1 : 0))
}
