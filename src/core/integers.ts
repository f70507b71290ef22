import { ShapeError } from './errors.ts'

/** Whether `value` is a size: a safe integer ≥ 0. */
export function isSize(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

/**
 * The product of `sizes`.
 *
 * @throws {ShapeError} when it passes 2⁵³ − 1: past that a product in a double is no longer exact
 */
export function checkedProduct(sizes: readonly number[], what: string): number {
  if (sizes.includes(0)) return 0
  let product = 1
  for (const size of sizes) {
    product *= size
    if (!Number.isSafeInteger(product)) {
      throw new ShapeError(`${what}: expected a product of sizes up to 2^53 − 1, got ${sizes.join(' × ')}`)
    }
  }
  return product
}

/** ⌈a / b⌉ for sizes. */
export function ceilDivide(a: number, b: number): number {
  return Math.ceil(a / b)
}

/** The smallest multiple of `step` that is ≥ `size`. */
export function roundUp(size: number, step: number): number {
  return Math.ceil(size / step) * step
}
