import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createRuntime, tensor, type AttentionOptions, type Runtime, type RuntimeOptions } from 'heddle'
import { Random } from '../support/random.ts'
import { everyLaneWorks } from '../support/runtimes.ts'

const pools: Record<string, RuntimeOptions> = {
  'the calling thread': { workers: 0 },
  'shared memory': { workers: 2 },
  transfer: { workers: 2, sharedMemory: 'never' },
}

/** [B, H, Hkv, M, N, D, Dv] */
const shapes: readonly (readonly [number, number, number, number, number, number, number])[] = [
  [1, 1, 1, 1500, 1500, 64, 64],
  [2, 4, 2, 300, 500, 32, 48],
  [1, 2, 1, 400, 400, 300, 300],
  [1, 1, 1, 1, 20000, 64, 64],
  [1, 2, 2, 3, 9000, 64, 16],
]

const options = (rows: number): AttentionOptions[] => [
  {},
  { causal: true, returnStatistics: true, returnLogSumExp: true },
  { returnWeights: { rows: [0, rows - 1] } },
  { mode: 'standard' },
  { returnWeights: true },
  { chunkSize: 100 },
]

describe.each(Object.entries(pools))('the plan’s bytes over %s', (_name, pool) => {
  let runtime: Runtime
  beforeAll(async () => {
    runtime = await createRuntime(pool)
    const x = tensor(new Float32Array(8 * 300 * 32), [8, 300, 32])
    await everyLaneWorks(runtime, () => runtime.attention({ query: x, key: x, value: x }, { chunkSize: 64 }))
  })
  afterAll(() => runtime.close())

  it.each(shapes)('hold for B %i, H %i, Hkv %i, M %i, N %i, D %i, Dv %i', async (B, H, Hkv, M, N, D, Dv) => {
    const random = new Random(7)
    const make = (heads: number, rows: number, size: number) =>
      tensor(
        Float32Array.from({ length: B * heads * rows * size }, () => random.normal()),
        [B, heads, rows, size],
      )
    const inputs = { query: make(H, M, D), key: make(Hkv, N, D), value: make(Hkv, N, Dv) }
    for (const each of options(M)) {
      const promised = runtime.plan(inputs, each).totalBytes
      const { memory } = (await runtime.attention(inputs, each)).report
      expect(memory.plannedBytes, JSON.stringify(each)).toBe(promised)
      expect(memory.peakBytes, JSON.stringify(each)).toBeLessThanOrEqual(promised)
      expect(memory.peakBytes, JSON.stringify(each)).toBeGreaterThanOrEqual(0.95 * promised)
    }
  })
})
