import type { AttentionOptions } from 'heddle'
import { MultiHeadAttention } from 'heddle/nn'
import { afterEach, describe, expect, test } from 'vitest'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { fingerprint, normalTensor } from '../support/tensors.ts'

const runtime = useRuntime({ workers: 0 })
const real = { Float32Array, Int32Array }

/**
 * Elements of the longest array that is made by its length from now on: every buffer of the plan is made by the ledger.
 */
function watchArrays(): () => number {
  let longest = 0
  const watched = <Class extends Float32ArrayConstructor | Int32ArrayConstructor>(target: Class): Class =>
    new Proxy(target, {
      construct(Class, args: [number]) {
        if (typeof args[0] === 'number') longest = Math.max(longest, args[0])
        return new Class(...args)
      },
    })
  Object.assign(globalThis, { Float32Array: watched(real.Float32Array), Int32Array: watched(real.Int32Array) })
  return () => longest
}

afterEach(() => {
  Object.assign(globalThis, real)
})

const random = new Random(291)

/** [M, D, Dv]; one pass of a lane takes 1024 rows at D ≤ 192 and fewer beyond. */
describe.each([
  [2600, 64, 64],
  [2100, 16, 48],
  [900, 300, 300],
])('a chunk of %i rows, D %i, Dv %i', (M, D, Dv) => {
  const inputs = {
    query: normalTensor(random, [M, D]),
    key: normalTensor(random, [500, D]),
    value: normalTensor(random, [500, Dv]),
  }

  test.each<[string, AttentionOptions]>([
    ['output', {}],
    ['all of a row', { returnLogSumExp: true, returnStatistics: true, causal: true }],
    ['standard mode', { mode: 'standard' }],
  ])('is written pass by pass, without memory beyond the plan: %s', async (_, options) => {
    const expected = await runtime().attention(inputs, { ...options, chunkSize: 64 })
    const longest = watchArrays()
    const { output, logSumExp, report } = await runtime().attention(inputs, { ...options, chunkSize: M })
    Object.assign(globalThis, real)
    expect(longest()).toBeLessThan(M)
    expect(report.tasks).toBe(1)
    expect(report.memory.peakBytes).toBe(report.memory.plannedBytes)
    expect(fingerprint(output.data)).toBe(fingerprint(expected.output.data))
    if (logSumExp !== undefined) expect(fingerprint(logSumExp.data)).toBe(fingerprint(expected.logSumExp!.data))
  })
})

test('the same for a layer', async () => {
  const layer = new MultiHeadAttention({ modelDim: 64, heads: 2 })
  const x = normalTensor(random, [1, 2600, 64])
  const expected = await layer.forward(x, { runtime: runtime(), chunkSize: 64 })
  const longest = watchArrays()
  const { output, report } = await layer.forward(x, { runtime: runtime(), chunkSize: 2600 })
  Object.assign(globalThis, real)
  expect(longest()).toBeLessThan(2600)
  expect(report.memory.peakBytes).toBe(report.memory.plannedBytes)
  expect(fingerprint(output.data)).toBe(fingerprint(expected.output.data))
})
