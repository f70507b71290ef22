import { NumericError, OptionError } from '../core/errors.ts'
import { describe, type Tensor } from '../core/tensor.ts'

/** Gradients under the names of `namedParameters()`. */
export type Gradients = ReadonlyMap<string, Tensor>

/** @throws {OptionError} unless `gradients` is a map of float32 tensors */
export function checkGradients(what: string, gradients: unknown): asserts gradients is Gradients {
  if (!(gradients instanceof Map))
    throw new OptionError(`${what}: expected a Map of gradients by parameter name, got ${describe(gradients)}`)
  for (const [name, gradient] of gradients as Map<unknown, Partial<Tensor> | undefined>) {
    if (typeof name !== 'string')
      throw new OptionError(`${what}: expected parameter names as keys, got ${describe(name)}`)
    if (!(gradient?.data instanceof Float32Array))
      throw new OptionError(`${what}: expected the gradient of ${name} as a float32 tensor, got ${describe(gradient)}`)
  }
}

/** The error of the first element that is NaN or infinite; undefined where all are finite. */
export function nonFiniteGradient(what: string, name: string, { data }: Tensor): NumericError | undefined {
  const element = data.findIndex((value) => !Number.isFinite(value))
  if (element < 0) return undefined
  return new NumericError(`${what}: expected finite gradients, got ${data[element]} at element ${element} of ${name}`, {
    details: { parameter: name, element },
  })
}
