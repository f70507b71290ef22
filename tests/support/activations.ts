/** Activations in float64, relative error 1e-12 wherever the result is not 0; at −∞ each has its limit. */
export const exactActivations: Readonly<
  Record<'relu' | 'gelu' | 'gelu-tanh' | 'silu' | 'tanh', (x: number) => number>
> = {
  relu: (x) => Math.max(x, 0),
  gelu: (x) =>
    x === -Infinity
      ? 0
      : x < 0
        ? 0.5 * x * complementaryError(-x / Math.SQRT2)
        : x * (1 - 0.5 * complementaryError(x / Math.SQRT2)),
  // ½·(1 + tanh y) is the logistic function of 2y, which loses nothing below 0.
  silu: (x) => (x === -Infinity ? 0 : x / (1 + Math.exp(-x))),
  tanh: Math.tanh,
  'gelu-tanh': (x) => (x === -Infinity ? 0 : x / (1 + Math.exp(-2 * tanhArgument(x)))),
}

/** √(2/π)·(x + 0.044715·x³): what GELU's tanh form takes tanh of. */
export function tanhArgument(x: number): number {
  return Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)
}

/** erfc(x) of x ≥ 0: by erf's Taylor series below 2, by its continued fraction (DLMF 7.9.3) above. */
function complementaryError(x: number): number {
  if (x < 2) {
    let [term, sum] = [x, x]
    for (let n = 1; n < 60; n++) {
      term *= -(x * x) / n
      sum += term / (2 * n + 1)
    }
    return 1 - (2 / Math.sqrt(Math.PI)) * sum
  }
  let fraction = x
  for (let n = 100; n > 0; n--) fraction = x + n / 2 / fraction
  return Math.exp(-x * x) / (fraction * Math.sqrt(Math.PI))
}

/**
 * Float32 numbers over the whole range: `perBinade` of each exponent and sign, subnormal ones and ±0 among them, and
 * evenly from −20 to 20, where activations bend.
 */
export function finiteRange(perBinade: number, evenly: number): Float32Array {
  const bits = new Uint32Array(2 * 255 * perBinade)
  for (let at = 0; at < bits.length; at++) {
    const [half, exponent, place] = [at % 2, Math.floor(at / 2 / perBinade), Math.floor(at / 2) % perBinade]
    bits[at] =
      half * 2 ** 31 +
      exponent * 2 ** 23 +
      (place === perBinade - 1 ? 2 ** 23 - 1 : Math.floor((place * 2 ** 23) / perBinade))
  }
  const middle = Float32Array.from({ length: evenly }, (_, at) => -20 + (40 * at) / evenly)
  return Float32Array.from([...new Float32Array(bits.buffer), ...middle])
}
