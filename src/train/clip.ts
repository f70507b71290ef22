import type { Runtime } from '../attention/runtime.ts'
import { checkedSignal, checkNames, expected } from '../core/check.ts'
import { isShared } from '../core/shared-memory.ts'
import { checkRuntime } from '../program/host.ts'
import { LANES_PAY, runElements } from './elements/run-elements.ts'
import { checkGradients, nonFiniteGradient, type Gradients } from './gradients.ts'
import { PacedLoop } from './paced-loop.ts'

/** What `gradientNorm` and `clipGradNorm` take. */
export interface NormOptions {
  /**
   * Whose lanes add the squares where all gradients stand in memory that they share with this thread, and are so many
   * that it pays; the bits are the same. @default none: the calling thread does
   */
  readonly runtime?: Runtime
  /** Ends the call with the signal's reason; nothing has changed then. */
  readonly signal?: AbortSignal
}

/** Squares are summed in blocks of so many elements, counted through all gradients, and the blocks' sums in order. */
const BLOCK_ELEMENTS = 2 ** 20

/**
 * The Euclidean norm over all gradients together, summed in float64 in the order of the map.
 *
 * @param gradients by the names of parameters
 * @param options where it may run, and what ends it
 * @throws {OptionError} for unknown names and wrong values
 * @throws {NumericError} that names the first parameter whose gradient holds NaN or an infinity
 */
export async function gradientNorm(gradients: Gradients, options: NormOptions = {}): Promise<number> {
  checkGradients('gradientNorm', gradients)
  return normOf('gradientNorm', gradients, options)
}

/**
 * What gradients of this norm are multiplied by, so that it is `maxNorm` at most: 1, or less where it is larger. For
 * `gradientScale` of an optimizer's step, which saves the pass over all gradients that `clipGradNorm` takes; the update
 * has the same bits.
 *
 * @param norm of the gradients, as `gradientNorm` gives it
 * @param maxNorm the largest norm that is left alone
 * @throws {OptionError} unless `maxNorm` is a number above 0
 */
export function clipFactor(norm: number, maxNorm: number): number {
  checkLimit('clipFactor: maxNorm', maxNorm)
  return Math.min(1, maxNorm / (norm + 1e-6))
}

/**
 * Scales all gradients by maxNorm / (norm + 1e-6), in place, where their common norm is larger than `maxNorm`. The same
 * as PyTorch's `clip_grad_norm_` (Pascanu et al. 2013).
 *
 * @param gradients by the names of parameters; they change
 * @param maxNorm the largest norm that is left alone
 * @param options where the norm may be summed, and what ends the call
 * @returns the norm before
 * @throws {OptionError} unless `maxNorm` is a number above 0; for unknown names and wrong values of options
 * @throws {NumericError} that names the first parameter whose gradient holds NaN or an infinity; then none is changed
 *
 * @example
 * ```js
 * import { tensor } from 'heddle'
 * import { clipGradNorm } from 'heddle/train'
 *
 * const gradients = new Map([['weight', tensor(Float32Array.of(3, 4), [2])]])
 * console.log(await clipGradNorm(gradients, 1), gradients.get('weight').data[0].toFixed(2)) // 5 0.60
 * ```
 */
export async function clipGradNorm(gradients: Gradients, maxNorm: number, options: NormOptions = {}): Promise<number> {
  checkGradients('clipGradNorm', gradients)
  checkLimit('clipGradNorm: maxNorm', maxNorm)
  const norm = await normOf('clipGradNorm', gradients, options)
  const factor = clipFactor(norm, maxNorm)
  if (factor === 1) return norm
  const loop = new PacedLoop()
  for (const { data } of gradients.values())
    await loop.run(data.length, (start, end) => scale(data.subarray(start, end), factor))
  return norm
}

/**
 * Clamps each element of each gradient to [−limit, limit], in place. The same as PyTorch's `clip_grad_value_`.
 *
 * @param gradients by the names of parameters; they change
 * @param limit the largest absolute value that is left alone
 * @throws {OptionError} unless `limit` is a number above 0
 * @throws {NumericError} that names the first parameter whose gradient holds NaN or an infinity; then none is changed
 */
export async function clipGradValue(gradients: Gradients, limit: number): Promise<void> {
  checkGradients('clipGradValue', gradients)
  checkLimit('clipGradValue: limit', limit)
  await normOf('clipGradValue', gradients, {})
  const loop = new PacedLoop()
  for (const { data } of gradients.values())
    await loop.run(data.length, (start, end) => clamp(data.subarray(start, end), limit))
}

export function checkLimit(what: string, limit: unknown): asserts limit is number {
  if (typeof limit !== 'number' || !(limit > 0)) throw expected(what, 'a number above 0', limit)
}

async function normOf(what: string, gradients: Gradients, options: NormOptions): Promise<number> {
  const { runtime, signal } = checkNames(`${what}: options`, options, ['runtime', 'signal'])
  checkRuntime(`${what}: option runtime`, runtime)
  checkedSignal(`${what}: option signal`, signal)
  const arrays = [...gradients.values()].map(({ data }) => data)
  const works = arrays.map((data) => ({ loop: 'squares', arrays: [data], numbers: [] }) as const)
  // A copy for the lanes would take as long as the sum.
  const lanesPay = arrays.every(isShared) ? LANES_PAY.norm : Infinity
  const { sums } = await runElements(works, { blockElements: BLOCK_ELEMENTS, lanesPay, runtime, signal })
  const squares = sums.reduce((total, sum) => total + sum, 0)
  if (!Number.isFinite(squares)) throw nonFinite(what, gradients)
  return Math.sqrt(squares)
}

// Functions that get the array as an argument: see core/element-loops.ts.

function scale(data: Float32Array, factor: number): void {
  for (let index = 0; index < data.length; index++) data[index] = (data[index] ?? 0) * factor
}

function clamp(data: Float32Array, limit: number): void {
  for (let index = 0; index < data.length; index++) data[index] = Math.max(-limit, Math.min(limit, data[index] ?? 0))
}

/** Float32 squares cannot overflow float64: where their sum is not finite, some element is not. */
function nonFinite(what: string, gradients: Gradients): Error {
  for (const [name, gradient] of gradients) {
    const error = nonFiniteGradient(what, name, gradient)
    if (error !== undefined) return error
  }
  return expected(`${what}: gradients`, 'elements that stay as they are until the call ends', gradients)
}
