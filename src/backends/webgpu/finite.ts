const EXPONENT = 0x7f800000
const MAGNITUDE = 0x7fffffff
const MINUS_INFINITY = 0xff800000

/**
 * The largest |x| among `values`; Infinity when one is NaN or infinite. Looks at raw bits, so that no NaN is ever
 * loaded.
 */
export function largestMagnitude(values: Float32Array): number {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length)
  let largest = 0
  for (let index = 0; index < bits.length; index++) {
    const magnitude = (bits[index] as number) & MAGNITUDE
    if (magnitude > largest) largest = magnitude
  }
  return magnitudeOf(largest)
}

/** The same, but −∞ counts as nothing: in a bias it masks. */
export function largestBias(values: Float32Array): number {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length)
  let largest = 0
  for (let index = 0; index < bits.length; index++) {
    const word = bits[index] as number
    if (word === MINUS_INFINITY) continue
    if ((word & MAGNITUDE) > largest) largest = word & MAGNITUDE
  }
  return magnitudeOf(largest)
}

function magnitudeOf(bits: number): number {
  if (bits >= EXPONENT) return Infinity
  return new Float32Array(Uint32Array.of(bits).buffer)[0] as number
}

/** Products and sums below this cannot overflow float32, whatever finite bias is added to them. */
export const SAFE_MAGNITUDE = 1e30
