/**
 * sin and cos in float64 out of +, −, × and rounding alone, so that tables made of them have the same bits on every
 * machine (engines' own differ in the last bits). Within 1e-12 for |x| up to 2²⁴.
 */

// π/2 as a sum of three parts whose products with a quarter count below 2²⁴ are exact.
const HALF_PI_1 = 1.570796325802803
const HALF_PI_2 = 9.920935739593517e-10
const HALF_PI_3 = 5.721188726109832e-18

export function exactSin(x: number): number {
  return quarterWave(x, 0)
}

export function exactCos(x: number): number {
  return quarterWave(x, 1)
}

/** sin(x + quarters·π/2). */
function quarterWave(x: number, quarters: number): number {
  const count = Math.round(x / (HALF_PI_1 + HALF_PI_2))
  const rest = x - count * HALF_PI_1 - count * HALF_PI_2 - count * HALF_PI_3
  const quarter = (((count + quarters) % 4) + 4) % 4
  const value = quarter % 2 === 0 ? sinNearZero(rest) : cosNearZero(rest)
  return quarter < 2 ? value : -value
}

/** Taylor to degree 17 on |x| ≤ π/4: the next term is below 1e-19. */
function sinNearZero(x: number): number {
  const square = x * x
  let sum = 1
  for (let degree = 16; degree >= 2; degree -= 2) sum = 1 - (sum * square) / (degree * (degree + 1))
  return x * sum
}

function cosNearZero(x: number): number {
  const square = x * x
  let sum = 1
  for (let degree = 18; degree >= 2; degree -= 2) sum = 1 - (sum * square) / (degree * (degree - 1))
  return sum
}
