import { checkNames } from '../../core/check.ts'
import { FormatError, NumericError, OptionError, ShapeError } from '../../core/errors.ts'
import { describe, formatShape, isOfClass, type Tensor, type TensorData } from '../../core/tensor.ts'
import type { Parameter } from '../../program/parameter.ts'

/** Named tensors, as a file holds them: the parameters of a module, and perhaps buffers beside them. */
export type GivenState = Readonly<Record<string, Tensor<TensorData>>>

/** How `loadStateDict` treats what does not fit. */
export interface LoadOptions {
  /** Whether missing and unexpected names are errors; else they are listed in what comes back. @default true */
  readonly strict?: boolean
  /** Whether NaN and infinities are allowed. @default false */
  readonly allowNonFinite?: boolean
  /**
   * Takes the names that begin with it, without it, and leaves all others alone: `'model.layers.0.'` loads one block
   * out of a whole model.
   *
   * @default ''
   */
  readonly prefix?: string
}

/** Where a state dict and a module differ. */
export interface LoadReport {
  /** parameters that the state dict does not name: they kept their values */
  readonly missing: readonly string[]
  /** names of the state dict that are no parameters: they were left out */
  readonly unexpected: readonly string[]
  /** integers that are no parameters, such as `position_ids`: buffers of other libraries, left out even when strict */
  readonly skipped: readonly string[]
}

/** Copies `state` into `parameters`, all or nothing. Its errors list everything that is wrong, not the first of it. */
export function assignState(
  parameters: ReadonlyMap<string, Parameter>,
  given: GivenState,
  options: LoadOptions,
): LoadReport {
  options = checkNames('loadStateDict: options', options, ['strict', 'allowNonFinite', 'prefix'])
  const state = withoutPrefix(given, options.prefix)
  const missing = [...parameters.keys()].filter((name) => !Object.hasOwn(state, name))
  const others = Object.keys(state).filter((name) => !parameters.has(name))
  const skipped = others.filter((name) => holdsIntegers(state[name]))
  const unexpected = others.filter((name) => !skipped.includes(name))
  const misshapen = [...parameters].flatMap(([name, parameter]) => misfit(name, parameter, state))
  const complaints = options.strict === false ? { missing: [], unexpected: [] } : { missing, unexpected }
  refuse({ ...complaints, misshapen }, prefixHint(missing, unexpected))
  const present = [...parameters].filter(([name]) => Object.hasOwn(state, name))
  if (options.allowNonFinite !== true) refuseNonFinite(present.map(([name]) => [name, dataOf(state, name)]))
  for (const [name, parameter] of present) {
    parameter.data.set(dataOf(state, name))
    parameter.touch()
  }
  return { missing, unexpected, skipped }
}

/** @throws {OptionError} unless `state` is an object and `prefix` text; {FormatError} when no name begins with it */
function withoutPrefix(state: GivenState, prefix: unknown): GivenState {
  if (typeof state !== 'object' || (state as unknown) === null)
    throw new OptionError(`loadStateDict: expected an object of tensors, got ${describe(state)}`)
  if (prefix === undefined || prefix === '') return state
  if (typeof prefix !== 'string')
    throw new OptionError(`loadStateDict: option prefix: expected text, got ${describe(prefix)}`)
  const own = Object.entries(state).filter(([name]) => name.startsWith(prefix))
  if (own.length === 0)
    throw new FormatError(
      `loadStateDict: expected names that begin with ${JSON.stringify(prefix)}, got ${Object.keys(state).slice(0, 3).join(', ')}, …`,
    )
  return Object.fromEntries(own.map(([name, tensor]) => [name.slice(prefix.length), tensor]))
}

/** Whether a tensor holds integers, of any size. */
function holdsIntegers(tensor: unknown): boolean {
  const data: unknown = (tensor as Partial<Tensor> | null | undefined)?.data
  const kind = ArrayBuffer.isView(data) ? (data as Partial<Uint8Array>)[Symbol.toStringTag] : undefined
  return kind !== undefined && !kind.startsWith('Float')
}

/** The prefix under which the state dict has a parameter that is missing without it, if one is. */
function prefixHint(missing: readonly string[], unexpected: readonly string[]): string {
  const [first] = missing
  const found = first === undefined ? undefined : unexpected.find((name) => name.endsWith(`.${first}`))
  if (first === undefined || found === undefined) return ''
  return `; option prefix: ${JSON.stringify(found.slice(0, -first.length))} takes the names that begin so`
}

function dataOf(state: GivenState, name: string): Float32Array {
  return (state[name]?.data as Float32Array | undefined) ?? new Float32Array(0)
}

/** What is wrong with the tensor of this name, in words; nothing where it fits or is missing. */
function misfit(name: string, parameter: Parameter, state: Readonly<Record<string, unknown>>): string[] {
  if (!Object.hasOwn(state, name)) return []
  const given = state[name] as Partial<Tensor> | null | undefined
  if (!isOfClass(Float32Array, given?.data) || !Array.isArray(given?.shape)) {
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

interface Complaints {
  readonly missing: readonly string[]
  readonly unexpected: readonly string[]
  readonly misshapen: readonly string[]
}

function refuse({ missing, unexpected, misshapen }: Complaints, hint: string): void {
  const complaints = [
    ...(missing.length > 0 ? [`missing ${missing.join(', ')}`] : []),
    ...(unexpected.length > 0 ? [`unexpected ${unexpected.join(', ')}`] : []),
    ...(misshapen.length > 0 ? [`misshapen ${misshapen.join(', ')}`] : []),
  ]
  if (complaints.length === 0) return
  const message = `loadStateDict: expected exactly the parameters of the module; ${complaints.join('; ')}${hint}`
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
