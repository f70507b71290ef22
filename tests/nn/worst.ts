/** The largest difference; infinite where lengths differ or a NaN stands on one side. */
export function worst(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Infinity
  let error = 0
  for (let index = 0; index < expected.length; index++) {
    const difference = Math.abs(actual[index]! - expected[index]!)
    error = Math.max(error, Number.isNaN(difference) ? Infinity : difference)
  }
  return error
}
