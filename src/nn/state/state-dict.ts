import { checkNames } from '../../core/check.ts'
import { FormatError, NumericError, OptionError, ShapeError } from '../../core/errors.ts'
import { describe, formatShape, type Tensor } from '../../core/tensor.ts'
import type { Parameter } from '../../program/parameter.ts'

export interface LoadOptions {
  /** Whether missing and unexpected names are errors; else they are listed in what comes back. @default true */
  readonly strict?: boolean
  /** Whether NaN and infinities are let in. @default false */
  readonly allowNonFinite?: boolean
}

export interface LoadReport {
  /** parameters that the state dict does not name: they kept their values */
  readonly missing: readonly string[]
  /** names of the state dict that are no parameters: they were left out */
  readonly unexpected: readonly string[]
}

/** Copies `state` into `parameters`, all or nothing. Its errors list everything that is wrong, not the first of it. */
export function assignState(
  parameters: ReadonlyMap<string, Parameter>,
  state: Readonly<Record<string, Tensor>>,
  options: LoadOptions,
): LoadReport {
  options = checkNames('loadStateDict: options', options, ['strict', 'allowNonFinite'])
  if (typeof state !== 'object' || state === null)
    throw new OptionError(`loadStateDict: expected an object of tensors, got ${describe(state)}`)
  const missing = [...parameters.keys()].filter((name) => !Object.hasOwn(state, name))
  const unexpected = Object.keys(state).filter((name) => !parameters.has(name))
  const misshapen = [...parameters].flatMap(([name, parameter]) => misfit(name, parameter, state))
  refuse(options.strict === false ? [] : missing, options.strict === false ? [] : unexpected, misshapen)
  const present = [...parameters].filter(([name]) => Object.hasOwn(state, name))
  if (options.allowNonFinite !== true) refuseNonFinite(present.map(([name]) => [name, dataOf(state, name)]))
  for (const [name, parameter] of present) {
    parameter.data.set(dataOf(state, name))
    parameter.touch()
  }
  return { missing, unexpected }
}

function dataOf(state: Readonly<Record<string, Tensor>>, name: string): Float32Array {
  return state[name]?.data ?? new Float32Array(0)
}

/** What is wrong with the tensor of this name, in words; nothing where it fits or is missing. */
function misfit(name: string, parameter: Parameter, state: Readonly<Record<string, unknown>>): string[] {
  if (!Object.hasOwn(state, name)) return []
  const given = state[name] as Partial<Tensor> | null | undefined
  if (!(given?.data instanceof Float32Array) || !Array.isArray(given.shape)) {
    return [
      `${name} (expected a float32 tensor ${formatShape(parameter.shape)}, got ${describe(given?.data ?? given)})`,
    ]
  }
  const shape: readonly number[] = given.shape
  const same = shape.length === parameter.shape.length && shape.every((size, axis) => size === parameter.shape[axis])
  if (!same) return [`${name} (expected ${formatShape(parameter.shape)}, got ${formatShape(shape)})`]
  const elements = parameter.data.length
  return given.data.length === elements ? [] : [`${name} (expected ${elements} elements, got ${given.data.length})`]
}

function refuse(missing: readonly string[], unexpected: readonly string[], misshapen: readonly string[]): void {
  const complaints = [
    ...(missing.length > 0 ? [`missing ${missing.join(', ')}`] : []),
    ...(unexpected.length > 0 ? [`unexpected ${unexpected.join(', ')}`] : []),
    ...(misshapen.length > 0 ? [`misshapen ${misshapen.join(', ')}`] : []),
  ]
  if (complaints.length === 0) return
  const message = `loadStateDict: expected exactly the parameters of the module; ${complaints.join('; ')}`
  const details = { missing, unexpected, misshapen }
  throw missing.length + unexpected.length > 0
    ? new FormatError(message, { details })
    : new ShapeError(message, { details })
}

/** @throws {NumericError} that names every array which holds NaN or an infinity, and where */
export function refuseNonFinite(arrays: readonly (readonly [string, Float32Array])[]): void {
  const found = arrays.flatMap(([name, data]) => {
    const index = data.findIndex((value) => !Number.isFinite(value))
    return index < 0 ? [] : [`${name} (${data[index]} at element ${index})`]
  })
  if (found.length > 0)
    throw new NumericError(`loadStateDict: expected finite weights, got NaN or infinities in ${found.join(', ')}`, {
      details: { found },
    })
}
