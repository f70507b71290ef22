import { FormatError, NumericError, OptionError, ShapeError } from '../../core/errors.ts'
import { describe, formatShape, type Tensor, type TensorData } from '../../core/tensor.ts'
import type { Parameter } from '../../program/parameter.ts'
import { sameShape } from '../batch.ts'

/** What an optimizer remembers of one parameter. */
export interface ParameterState {
  /** updates so far */
  readonly steps: number
  /** by name: momentum, say; each as long as the parameter */
  readonly moments: Readonly<Record<string, Float32Array>>
}

/** `steps.NAME` (Int32 [1]) and `MOMENT.NAME` (float32, the parameter's shape): what safetensors can hold. */
export type OptimizerState = Record<string, Tensor<TensorData>>

export function writeState(
  parameters: ReadonlyMap<string, Parameter>,
  states: ReadonlyMap<string, ParameterState>,
): OptimizerState {
  const entries = [...states].flatMap(([name, { steps, moments }]): [string, Tensor<TensorData>][] => [
    [`steps.${name}`, { data: Int32Array.of(steps), shape: [1] }],
    ...Object.entries(moments).map(([moment, data]): [string, Tensor] => [
      `${moment}.${name}`,
      { data: data.slice(), shape: parameters.get(name)?.shape ?? [] },
    ]),
  ])
  return Object.fromEntries(entries)
}

/** The way back. @throws {OptionError} {FormatError} {ShapeError} {NumericError} that list everything that is wrong */
export function readState(
  what: string,
  parameters: ReadonlyMap<string, Parameter>,
  momentsOf: (name: string) => readonly string[],
  state: Readonly<Record<string, unknown>>,
): Map<string, ParameterState> {
  if (typeof state !== 'object' || state === null)
    throw new OptionError(`${what}: expected an object of tensors, got ${describe(state)}`)
  const updated = [...parameters.keys()].filter((name) => Object.hasOwn(state, `steps.${name}`))
  const wanted = new Set(
    updated.flatMap((name) => [`steps.${name}`, ...momentsOf(name).map((moment) => `${moment}.${name}`)]),
  )
  refuse(what, {
    missing: [...wanted].filter((key) => !Object.hasOwn(state, key)),
    unexpected: Object.keys(state).filter((key) => !wanted.has(key)),
  })
  return new Map(
    updated.map((name) => [name, readParameter(what, name, parameters.get(name)?.shape ?? [], momentsOf(name), state)]),
  )
}

function refuse(
  what: string,
  { missing, unexpected }: { readonly missing: readonly string[]; readonly unexpected: readonly string[] },
): void {
  const complaints = [
    ...(missing.length > 0 ? [`missing ${missing.join(', ')}`] : []),
    ...(unexpected.length > 0 ? [`unexpected ${unexpected.join(', ')}`] : []),
  ]
  if (complaints.length > 0)
    throw new FormatError(
      `${what}: expected the state of this optimizer for these parameters; ${complaints.join('; ')}`,
      { details: { missing, unexpected } },
    )
}

function readParameter(
  what: string,
  name: string,
  shape: readonly number[],
  moments: readonly string[],
  state: Readonly<Record<string, unknown>>,
): ParameterState {
  const counter = checked(what, `steps.${name}`, Int32Array, [1], state)
  const steps = counter[0] ?? 0
  if (steps < 1) throw new FormatError(`${what}: expected steps.${name} to be 1 or more, got ${steps}`)
  return {
    steps,
    moments: Object.fromEntries(
      moments.map((moment) => [
        moment,
        finite(what, `${moment}.${name}`, checked(what, `${moment}.${name}`, Float32Array, shape, state)),
      ]),
    ),
  }
}

/** A copy of the tensor's elements. */
function checked<Data extends Int32Array | Float32Array>(
  what: string,
  key: string,
  Class: new (data: Data) => Data,
  shape: readonly number[],
  state: Readonly<Record<string, unknown>>,
): Data {
  const tensor = state[key] as Partial<Tensor<Data>> | null | undefined
  if (!(tensor?.data instanceof Class))
    throw new OptionError(
      `${what}: expected ${key} as a tensor over a ${Class.name}, got ${describe(tensor?.data ?? tensor)}`,
    )
  const elements = shape.reduce((product, size) => product * size, 1)
  if (!Array.isArray(tensor.shape) || !sameShape(tensor.shape, shape) || tensor.data.length !== elements) {
    throw new ShapeError(
      `${what}: expected ${key} of shape ${formatShape(shape)}, got ${Array.isArray(tensor.shape) ? formatShape(tensor.shape) : describe(tensor.shape)}`,
    )
  }
  return new Class(tensor.data)
}

function finite(what: string, key: string, data: Float32Array): Float32Array {
  const element = data.findIndex((value) => !Number.isFinite(value))
  if (element >= 0)
    throw new NumericError(`${what}: expected finite numbers, got ${data[element]} at element ${element} of ${key}`)
  return data
}
