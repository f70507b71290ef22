/**
 * base^exponent for an integer exponent ≥ 0, out of multiplications alone: the same bits on every engine, which `**` is
 * not.
 */
export function integerPower(base: number, exponent: number): number {
  let result = 1
  for (let square = base, left = exponent; left > 0; left = Math.floor(left / 2), square *= square) {
    if (left % 2 === 1) result *= square
  }
  return result
}
