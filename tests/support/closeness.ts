import { expect } from 'vitest'
import { measureCloseness, wasmTolerance, type Tolerance } from './error-rule.ts'
import type { Reference } from './oracle.ts'

type Actual = ArrayLike<number> | { readonly data: ArrayLike<number>; readonly shape: readonly number[] }

function toMatchOracle(received: Actual, reference: Reference, tolerance: Tolerance = wasmTolerance) {
  const isTensor = 'data' in received
  const data = isTensor ? received.data : received
  if (isTensor && received.shape.join() !== reference.shape.join()) {
    return fail(`expected shape [${reference.shape.join(', ')}], got [${received.shape.join(', ')}]`)
  }
  if (data.length !== reference.exact.length)
    return fail(`expected ${reference.exact.length} elements, got ${data.length}`)
  const closeness = measureCloseness(data, reference.exact, reference.plain, tolerance)
  const { worstIndex, error, plainError, bound } = closeness
  const where = `worst at ${worstIndex} (${coordinates(worstIndex, reference.shape)})`
  const values = `expected ${reference.exact[worstIndex]}, got ${data[worstIndex]}`
  const message = `${where}: ${values}; e = ${error}, e_plain = ${plainError}, bound = ${bound}`
  return { pass: closeness.ok, message: () => message }
}

function fail(message: string) {
  return { pass: false, message: () => message }
}

/** Where a flat index lies in a tensor: `[1, 0, 17]`. */
function coordinates(index: number, shape: readonly number[]): string {
  const places: number[] = []
  let rest = index
  for (const size of [...shape].reverse()) {
    places.unshift(size === 0 ? 0 : rest % size)
    rest = size === 0 ? 0 : Math.floor(rest / size)
  }
  return `[${places.join(', ')}]`
}

expect.extend({ toMatchOracle })

/** Arrays of the same bytes are equal; the element by element comparison that says where others differ is slow. */
function sameBytes(a: unknown, b: unknown): true | undefined {
  if (!ArrayBuffer.isView(a) || !ArrayBuffer.isView(b)) return undefined
  if (a.constructor !== b.constructor || a.byteLength !== b.byteLength) return undefined
  const [left, right] = [a, b].map(
    ({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength),
  )
  for (let at = 0; at < a.byteLength; at++) if (left![at] !== right![at]) return undefined
  return true
}

expect.addEqualityTesters([sameBytes])

declare module 'vitest' {
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- merges only with the same type parameter
  interface Matchers<T = any> {
    /**
     * Within the error rule of the reference, NaN and infinities at exactly its places, and of its shape where it is a
     * tensor.
     */
    toMatchOracle(reference: Reference, tolerance?: Tolerance): T
  }
}
