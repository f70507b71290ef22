/**
 * exp and log out of +, −, ×, / and bit moves alone, in float64: engines' own `Math.exp` and `Math.log` differ in the
 * last bits, and a result that promises the same bits everywhere must not hold them. Within 1e-14 relative of the true
 * value.
 */

const LN2_HIGH = 0.69314718036912381649
const LN2_LOW = 1.90821492927058770002e-10
const words = new DataView(new ArrayBuffer(8))

/** eˣ for x ≤ 700; 0 below −700. NaN stays NaN. */
export function exactExp(x: number): number {
  if (x !== x) return x
  if (x < -700) return 0
  if (x > 700) return Infinity
  const power = Math.round(x * 1.4426950408889634)
  const rest = x - power * LN2_HIGH - power * LN2_LOW
  // Taylor to degree 13 on |rest| ≤ ln2/2: the next term is below 4e-18.
  let sum = 1
  for (let degree = 13; degree >= 1; degree--) sum = 1 + (sum * rest) / degree
  return sum * powerOfTwo(power)
}

/** The natural logarithm of x ≥ 0; −∞ at 0, NaN below. */
export function exactLog(x: number): number {
  if (!(x > 0)) return x === 0 ? -Infinity : NaN
  if (x === Infinity) return x
  let exponent = 0
  if (x < 2.2250738585072014e-308) {
    x *= 18014398509481984 // 2^54: out of the subnormals
    exponent = -54
  }
  words.setFloat64(0, x)
  const high = words.getUint32(0)
  exponent += (high >>> 20) - 1023
  words.setUint32(0, (high & 0x000fffff) | 0x3ff00000)
  let mantissa = words.getFloat64(0)
  if (mantissa > 1.4142135623730951) {
    mantissa /= 2
    exponent += 1
  }
  // log m = 2·atanh(s), s = (m − 1)/(m + 1), |s| ≤ 0.172: odd series to s^23.
  const s = (mantissa - 1) / (mantissa + 1)
  const square = s * s
  let series = 0
  for (let odd = 23; odd >= 1; odd -= 2) series = series * square + 1 / odd
  return exponent * LN2_HIGH + (2 * s * series + exponent * LN2_LOW)
}

function powerOfTwo(power: number): number {
  // Two factors, so that powers below −1022 pass through subnormals correctly.
  const half = Math.trunc(power / 2)
  return exponentOnly(half) * exponentOnly(power - half)
}

function exponentOnly(power: number): number {
  words.setUint32(0, (power + 1023) << 20)
  words.setUint32(4, 0)
  return words.getFloat64(0)
}
