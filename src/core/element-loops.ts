/**
 * Loops over the elements of float32 arrays, in float64: what an optimizer does, and the squares of a norm. The calling
 * thread and the lanes run the same code, so an element has the same bits wherever it was computed.
 *
 * Each is one function that gets its arrays as arguments. A closure that is made anew for each parameter takes V8 twice
 * the time: it reads each array's address again for each element.
 */

/** Elements [start, end). */
export interface ElementRange {
  readonly start: number
  readonly end: number
}

/** @returns `sum` and what these elements add to it */
type ElementLoop = (
  arrays: readonly Float32Array[],
  numbers: readonly number[],
  range: ElementRange,
  sum: number,
) => number

export const ELEMENT_LOOPS = { squares, sgd, adam } satisfies Record<string, ElementLoop>

export type ElementLoopName = keyof typeof ELEMENT_LOOPS

/** A loop with its arrays, given as they are or by what lanes call them, and its numbers. */
export interface ElementWork<Given = Float32Array> {
  readonly loop: ElementLoopName
  readonly arrays: readonly Given[]
  readonly numbers: readonly number[]
}

/** Σ x². Float32 squares cannot overflow float64, so the sum is finite where all elements are. */
function squares(arrays: readonly Float32Array[], _: readonly number[], { start, end }: ElementRange, sum: number) {
  const [data] = arrays as [Float32Array]
  for (let index = start; index < end; index++) sum += (data[index] ?? 0) * (data[index] ?? 0)
  return sum
}

/**
 * b′ ← momentum·b + (s·g + λ·p), then p′ ← p − rate·(ofSlope·(s·g + λ·p) + ofMomentum·b′). A scaled gradient s·g is
 * rounded to float32, as one that was scaled in place is.
 *
 * @param arrays p, g, b, and where p′ and b′ go
 * @param numbers s, rate, momentum, λ, ofSlope and ofMomentum: 0 and 1, or 1 and the momentum to look ahead
 * @returns `sum`, or NaN where a p′ is not finite
 */
function sgd(arrays: readonly Float32Array[], numbers: readonly number[], { start, end }: ElementRange, sum: number) {
  const [parameter, gradient, momentum, newParameter, newMomentum] = arrays as FiveArrays
  const [scale, rate, factor, decay, ofSlope, ofMomentum] = numbers as SixNumbers
  for (let index = start; index < end; index++) {
    const value = parameter[index] ?? 0
    const slope = Math.fround(scale * (gradient[index] ?? 0)) + decay * value
    const velocity = factor * (momentum[index] ?? 0) + slope
    newMomentum[index] = velocity
    const updated = value - rate * (ofSlope * slope + ofMomentum * velocity)
    newParameter[index] = updated
    sum += Math.fround(updated) * 0
  }
  return sum
}

/**
 * m′ ← β₁·m + (1 − β₁)·(s·g + λ·p), v′ ← β₂·v + (1 − β₂)·(s·g + λ·p)², then
 * p′ ← shrink·p − stepSize·m′ / (√v′ / correction + ε). A scaled gradient is rounded as in `sgd`.
 *
 * @param arrays p, g, m, v, and where p′, m′ and v′ go
 * @param numbers s, β₁, β₂, ε, stepSize = rate / (1 − β₁ᵗ), correction = √(1 − β₂ᵗ), λ and shrink
 * @returns `sum`, or NaN where a p′ or a v′ is not finite
 */
function adam(arrays: readonly Float32Array[], numbers: readonly number[], { start, end }: ElementRange, sum: number) {
  const [parameter, gradient, first, second, newParameter, newFirst, newSecond] = arrays as SevenArrays
  const [scale, beta1, beta2, epsilon, stepSize, correction, penalty, shrink] = numbers as EightNumbers
  const [rest1, rest2] = [1 - beta1, 1 - beta2]
  for (let index = start; index < end; index++) {
    const value = parameter[index] ?? 0
    const slope = Math.fround(scale * (gradient[index] ?? 0)) + penalty * value
    const m = beta1 * (first[index] ?? 0) + rest1 * slope
    const v = beta2 * (second[index] ?? 0) + rest2 * slope * slope
    newFirst[index] = m
    newSecond[index] = v
    const updated = shrink * value - (stepSize * m) / (Math.sqrt(v) / correction + epsilon)
    newParameter[index] = updated
    sum += (Math.fround(updated) + Math.fround(v)) * 0
  }
  return sum
}

type FiveArrays = readonly [Float32Array, Float32Array, Float32Array, Float32Array, Float32Array]
type SevenArrays = readonly [...FiveArrays, Float32Array, Float32Array]
type SixNumbers = readonly [number, number, number, number, number, number]
type EightNumbers = readonly [...SixNumbers, number, number]
