import { describe, expect, test } from 'vitest'
import { keptLimitBytes, ScratchMemory } from '../../src/scheduler/scratch-memory.ts'
import { Ledger, type Purpose } from '../../src/core/ledger.ts'

const KIBI = 1024

/** A call that takes arrays of these sizes, each under its purpose, and ends. */
function call(
  scratch: ScratchMemory,
  arrays: readonly (readonly [purpose: Purpose, bytes: number])[],
  { clean = true, keptBytes = Infinity } = {},
) {
  const ledger = new Ledger()
  const memory = scratch.open(
    arrays.map(([, bytes]) => bytes),
    keptBytes,
    ledger,
  )
  const made = arrays.map(([purpose, bytes]) => memory.array(purpose, Float32Array, bytes / 4, true))
  memory.release(clean)
  return { buffers: made.map(({ buffer }) => buffer), lengths: made.map(({ byteLength }) => byteLength), ledger }
}

describe('ScratchMemory', () => {
  test('gives a later call the buffers of an earlier one, the smallest that hold its arrays, and counts the rest', () => {
    const scratch = new ScratchMemory(1e9)
    const first = call(scratch, [
      ['activations', 256 * KIBI],
      ['weights', 128 * KIBI],
      ['output', 400 * KIBI],
    ])
    expect(first.ledger.peakBytes).toBe(784 * KIBI)
    const second = call(scratch, [
      ['weights', 100 * KIBI],
      ['activations', 200 * KIBI],
    ])
    expect(second.buffers).toEqual([first.buffers[1], first.buffers[0]])
    expect(second.lengths).toEqual([100 * KIBI, 200 * KIBI])
    expect(second.ledger.peakBytes).toBe(784 * KIBI)
    expect(second.ledger.peakByPurpose).toEqual({
      'kept buffers': 484 * KIBI,
      activations: 200 * KIBI,
      weights: 100 * KIBI,
    })
  })

  test('gives no buffer to two calls at once', () => {
    const scratch = new ScratchMemory(1e9)
    call(scratch, [['activations', 256 * KIBI]])
    const [one, two] = [0, 1].map(() =>
      scratch.open([256 * KIBI], Infinity, new Ledger()).array('activations', Float32Array, 64 * KIBI, true),
    )
    expect(one?.buffer).not.toBe(two?.buffer)
  })

  test('keeps of a call that was cut short only what lanes read', () => {
    const scratch = new ScratchMemory(1e9)
    call(
      scratch,
      [
        ['activations', 256 * KIBI],
        ['input copies', 128 * KIBI],
      ],
      { clean: false },
    )
    expect(scratch.sizes).toEqual([128 * KIBI])
  })

  test('never keeps more than its limit: the oldest go', () => {
    const scratch = new ScratchMemory(512 * KIBI)
    call(scratch, [
      ['activations', 128 * KIBI],
      ['weights', 256 * KIBI],
    ])
    call(scratch, [
      ['output', 70 * KIBI],
      ['details', 300 * KIBI],
      ['partials', 600 * KIBI],
    ])
    expect(scratch.sizes.reduce((sum, size) => sum + size, 0)).toBeLessThanOrEqual(512 * KIBI)
    expect(scratch.sizes).toContain(300 * KIBI)
    expect(scratch.sizes).not.toContain(256 * KIBI)
    expect(scratch.sizes).not.toContain(600 * KIBI)
  })

  test('lets go of what eight calls in a row did not use', () => {
    const scratch = new ScratchMemory(1e9)
    call(scratch, [
      ['activations', 512 * KIBI],
      ['weights', 64 * KIBI],
    ])
    for (let count = 0; count < 7; count++) call(scratch, [['weights', 64 * KIBI]])
    expect(scratch.sizes).toContain(512 * KIBI)
    call(scratch, [['weights', 64 * KIBI]])
    expect(scratch.sizes).toEqual([64 * KIBI])
  })

  test('lets go at once of large buffers that a call does not use', () => {
    const scratch = new ScratchMemory(1e9)
    call(scratch, [
      ['activations', 40_000 * KIBI],
      ['weights', 1000 * KIBI],
      ['output', 10_000 * KIBI],
    ])
    const { ledger } = call(scratch, [['details', 500 * KIBI]])
    expect(ledger.peakByPurpose).toEqual({ 'kept buffers': 11_000 * KIBI, details: 500 * KIBI })
    expect(scratch.sizes).not.toContain(40_000 * KIBI)
  })

  test('drops everything where a plan had no room for it', () => {
    const scratch = new ScratchMemory(1e9)
    const first = call(scratch, [
      ['activations', 256 * KIBI],
      ['weights', 256 * KIBI],
    ])
    const second = call(scratch, [['activations', 256 * KIBI]], { keptBytes: 0 })
    expect(first.buffers).not.toContain(second.buffers[0])
    expect(second.ledger.peakBytes).toBe(256 * KIBI)
    expect(scratch.sizes).toEqual([256 * KIBI])
  })

  test('leaves small arrays, plain ones, and all after close to the collector', () => {
    const scratch = new ScratchMemory(1e9)
    call(scratch, [['activations', KIBI]])
    const memory = scratch.open([], Infinity, new Ledger())
    expect(memory.array('activations', Float32Array, 1e6, false).buffer).toBeInstanceOf(ArrayBuffer)
    memory.release(true)
    expect(scratch.sizes).toEqual([])
    call(scratch, [['activations', 256 * KIBI]])
    scratch.close()
    call(scratch, [['activations', 256 * KIBI]])
    expect(scratch.sizes).toEqual([])
  })

  test('its limit is the budget, and a quarter of the machine at most', () => {
    expect(keptLimitBytes(1e6, 1e9)).toBe(1e6)
    expect(keptLimitBytes(undefined, 1e9)).toBe(2.5e8)
    expect(keptLimitBytes(Infinity, undefined)).toBe(2 ** 29)
  })
})
