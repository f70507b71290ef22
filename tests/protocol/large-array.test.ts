import { describe, expect, it } from 'vitest'
import { packLarge, unpackLarge } from '../../src/protocol/large-array.ts'
import type { TaskArray } from '../../src/protocol/task.ts'

/** As postMessage does it. */
function posted(array: TaskArray): TaskArray {
  return unpackLarge(structuredClone(packLarge(array)))
}

// Shared memory is reserved, not touched: these 4 GiB cost nothing.
const buffer = new SharedArrayBuffer(2 ** 32 + 4096)

describe('arrays of 4 GiB and more', () => {
  it.each([
    { what: 'just below', array: new Float32Array(buffer, 0, 2 ** 30 - 1) },
    { what: 'exactly 4 GiB', array: new Float32Array(buffer, 0, 2 ** 30) },
    { what: 'above', array: new Int32Array(buffer) },
    { what: 'small, far in', array: new Uint8Array(buffer, 2 ** 32 + 8, 16) },
    { what: 'small', array: new Float32Array(new SharedArrayBuffer(64), 16, 4) },
  ])('survive being posted: $what', ({ array }) => {
    const arrived = posted(array)
    expect(arrived.constructor).toBe(array.constructor)
    expect(arrived.length).toBe(array.length)
    expect(arrived.byteOffset).toBe(array.byteOffset)
    array[array.length - 1] = 7
    expect(arrived[arrived.length - 1]).toBe(7)
  })
})
