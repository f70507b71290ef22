import { isShared } from '../core/shared-memory.ts'
import type { TaskArray } from '../protocol/task.ts'
import { memoryKey } from '../scheduler/operands.ts'
import type { ForwardGraph, ForwardPass } from './gradient-program.ts'
import { isKind, type Operation, type OperationKind, type Value } from './operation.ts'
import { optionArrays } from './operations/attend.ts'

/** Attributes that may differ between two runs of one program. All others decide how the program looks. */
const PARTICULARS: { readonly [K in OperationKind]?: readonly string[] } = {
  drop: ['seed'],
  'cross-entropy': ['factor'],
  attend: [
    'options.settings.dropout.seedLow',
    'options.settings.dropout.seedHigh',
    'options.segments.query',
    'options.segments.key',
    'options.mask.data',
    'options.bias.data',
  ],
}

/**
 * The arrays that a forward pass brings: how long they are, whether lanes see them, and which of them are the same
 * memory.
 */
export function describeArrays({ graph: { bindings, operations } }: ForwardGraph): string {
  const arrays = [
    ...bindings.values(),
    ...operations.flatMap((operation) => (isKind(operation, 'attend') ? optionArrays(operation) : [])),
  ]
  const keys = arrays.map(memoryKey)
  return arrays
    .map(
      (array, index) =>
        `${array.constructor.name}:${array.length}:${isShared(array)}:${keys.indexOf(keys[index] as string)}`,
    )
    .join()
}

/** Whether both make the same program: they may differ in the data of their inputs and in what `PARTICULARS` names. */
export function isSameForward(known: ForwardPass, fresh: ForwardGraph): boolean {
  const [a, b] = [known.graph, fresh.graph]
  return (
    a.forGradients === b.forGradients &&
    a.position === b.position &&
    known.operations.length === b.operations.length &&
    known.operations.every((operation, index) => isSameOperation(operation, b.operations[index] as Operation)) &&
    areSameValues(known.losses, fresh.losses) &&
    areSameValues(known.inputs, fresh.inputs) &&
    areSameValues([...known.seeds].flat(), [...fresh.seeds].flat()) &&
    areSame([...known.parameters], [...fresh.parameters])
  )
}

/** Gives a program the inputs, seeds, factors and option arrays of a forward pass that is the same as its own. */
export function rebind({ graph, operations }: ForwardPass, inputs: readonly Value[], fresh: ForwardGraph): void {
  const arrays: TaskArray[] = [...fresh.graph.bindings.values()]
  inputs.forEach((value, index) => graph.bindings.set(value, arrays[index] as TaskArray))
  // Operations of the gradients refer to the attributes of the forward pass, so they change with them.
  operations.forEach(({ attributes }, index) => Object.assign(attributes, fresh.graph.operations[index]?.attributes))
}

function isSameOperation(a: Operation, b: Operation): boolean {
  if (a.kind !== b.kind || a.region !== b.region || a.scope !== b.scope) return false
  const particulars = PARTICULARS[a.kind] ?? []
  return (
    areSameValues(a.inputs, b.inputs) &&
    areSameValues(a.outputs, b.outputs) &&
    isSame(a.attributes, b.attributes, '', particulars)
  )
}

function areSameValues(a: readonly Value[], b: readonly Value[]): boolean {
  return a.length === b.length && a.every((value, index) => isSameValue(value, b[index] as Value))
}

/** Ids count up as a graph is built, so they name the same values in two graphs of the same operations. */
function isSameValue(a: Value, b: Value): boolean {
  return (
    a.id === b.id &&
    a.batch === b.batch &&
    a.rows === b.rows &&
    a.width === b.width &&
    a.layout === b.layout &&
    a.heads === b.heads &&
    a.capacity === b.capacity &&
    a.integers === b.integers &&
    a.slots === b.slots &&
    (a.producer === null) === (b.producer === null)
  )
}

function areSame(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((item, index) => item === b[index])
}

/**
 * Equal plain data; anything else, such as a parameter, must be the same object. @param except paths that are not
 * looked at
 */
function isSame(a: unknown, b: unknown, path: string, except: readonly string[]): boolean {
  if (Object.is(a, b) || except.includes(path)) return true
  if (!isData(a) || !isData(b) || Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false
  const keys = Object.keys(a)
  if (keys.length !== Object.keys(b).length) return false
  return keys.every(
    (key) => Object.hasOwn(b, key) && isSame(a[key], b[key], path === '' ? key : `${path}.${key}`, except),
  )
}

function isData(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) return false
  return Array.isArray(value) || ArrayBuffer.isView(value) || Object.getPrototypeOf(value) === Object.prototype
}
