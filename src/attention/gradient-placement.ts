import { isShared } from '../core/shared-memory.ts'
import type { Transport } from '../plan/transport.ts'

/** Elements that are added at once: well under a millisecond. */
export const SLICE_ELEMENTS = 2 ** 18

/** Whether slots of so many elements are added in slices, with turns of the event loop between them. */
export function isSliced(elements: number): boolean {
  return elements > SLICE_ELEMENTS
}

/**
 * Whether lanes write key rows of results in place: they do where every input is shared, or where they are the calling
 * thread.
 */
export function writesInPlace(transport: Transport, arrays: readonly Float32Array[]): boolean {
  return transport === 'local' || (transport === 'shared' && arrays.every((array) => isShared(array)))
}
