import type { TensorData } from '../core/tensor.ts'

/**
 * What a caller gave to a call whose code is loaded first: every property is read now, and elements later. What is of
 * another kind than expected stays as it is, for the checks of the call.
 */
export function holdCall<T>(given: T): T {
  return hold(given) as T
}

function hold(given: unknown): unknown {
  if (Array.isArray(given)) return Array.from(given)
  if (typeof given !== 'object' || given === null || ArrayBuffer.isView(given) || 'aborted' in given) return given
  // Tensors may be objects of any class; of others only what is their own counts.
  const names = 'data' in given && 'shape' in given ? ['data', 'shape'] : Object.keys(given)
  return Object.fromEntries(names.map((name) => [name, hold((given as Record<string, unknown>)[name])]))
}

/** The arrays of tensors and options in a held call. */
export function heldArrays(held: unknown): TensorData[] {
  if (ArrayBuffer.isView(held)) return [held as TensorData]
  if (typeof held !== 'object' || held === null || 'aborted' in held) return []
  return Object.values(held).flatMap(heldArrays)
}
