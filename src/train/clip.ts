import { expected } from '../core/check.ts'
import type { Tensor } from '../core/tensor.ts'
import { checkGradients, nonFiniteGradient, type Gradients } from './gradients.ts'
import { PacedLoop } from './paced-loop.ts'

/**
 * The Euclidean norm over all gradients together, summed in float64 in the order of the map.
 *
 * @param gradients by the names of parameters
 * @throws {NumericError} that names the first parameter whose gradient holds NaN or an infinity
 */
export async function gradientNorm(gradients: Gradients): Promise<number> {
  checkGradients('gradientNorm', gradients)
  return normOf('gradientNorm', gradients, new PacedLoop())
}

/**
 * Scales all gradients by maxNorm / (norm + 1e-6), in place, where their common norm is larger than `maxNorm`. The same
 * as PyTorch's `clip_grad_norm_` (Pascanu et al. 2013).
 *
 * @param gradients by the names of parameters; they change
 * @param maxNorm the largest norm that is left alone
 * @returns the norm before
 * @throws {OptionError} unless `maxNorm` is a number above 0
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
export async function clipGradNorm(gradients: Gradients, maxNorm: number): Promise<number> {
  checkGradients('clipGradNorm', gradients)
  checkLimit('clipGradNorm: maxNorm', maxNorm)
  const loop = new PacedLoop()
  const norm = await normOf('clipGradNorm', gradients, loop)
  const factor = maxNorm / (norm + 1e-6)
  if (factor >= 1) return norm
  for (const { data } of gradients.values()) {
    await loop.run(data.length, (start, end) => {
      for (let index = start; index < end; index++) data[index] = (data[index] ?? 0) * factor
    })
  }
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
  const loop = new PacedLoop()
  await normOf('clipGradValue', gradients, loop)
  for (const { data } of gradients.values()) {
    await loop.run(data.length, (start, end) => {
      for (let index = start; index < end; index++) data[index] = Math.max(-limit, Math.min(limit, data[index] ?? 0))
    })
  }
}

export function checkLimit(what: string, limit: unknown): asserts limit is number {
  if (typeof limit !== 'number' || !(limit > 0)) throw expected(what, 'a number above 0', limit)
}

async function normOf(what: string, gradients: Gradients, loop: PacedLoop): Promise<number> {
  let squares = 0
  for (const [name, gradient] of gradients) {
    const { data } = gradient
    await loop.run(data.length, (start, end) => {
      // A variable of its own: engines keep one that a closure shares as an object, a new one for each sum.
      let sum = squares
      for (let index = start; index < end; index++) sum += (data[index] ?? 0) * (data[index] ?? 0)
      squares = sum
    })
    // float32 squares cannot overflow float64: what is not finite now was not finite before.
    if (!Number.isFinite(squares)) throw nonFinite(what, name, gradient)
  }
  return Math.sqrt(squares)
}

function nonFinite(what: string, name: string, gradient: Tensor): Error {
  return (
    nonFiniteGradient(what, name, gradient) ??
    expected(`${what}: gradient of ${name}`, 'elements that stay as they are until the call ends', gradient)
  )
}
