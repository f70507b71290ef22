import { createRuntime, type RuntimeOptions } from 'heddle'
import { describe, expect, test } from 'vitest'
import { forwardFor, gradientBits } from '../support/gradient-checks.ts'
import { Random } from '../support/random.ts'
import { withRuntime } from '../support/runtimes.ts'
import { normalTensor } from '../support/tensors.ts'
import { skipReason, testGpu } from './support/software-gpu.ts'

const found = await testGpu()
const host = globalThis as { [key: symbol]: unknown }
host[Symbol.for('heddle.webgpu')] = found.gpu

const random = new Random(61)
const inputs = {
  query: normalTensor(random, [2, 100, 16]),
  key: normalTensor(random, [2, 90, 16]),
  value: normalTensor(random, [2, 90, 16]),
}

describe.skipIf(skipReason(found) !== undefined)('backward over GPU lanes', { timeout: 120_000 }, () => {
  test.each<[string, RuntimeOptions]>([
    ['on the calling thread', { workers: 0, backend: 'webgpu' }],
    ['beside a wasm lane', { backend: { webgpu: 1, wasm: 1 } }],
  ])('%s it runs on wasm, with the same bits, within its plan, and the report says so', async (_, pool) => {
    const bias = normalTensor(random, [100, 90])
    const options = { causal: true, bias }
    const { call, bits } = await withRuntime({ workers: 0, backend: 'wasm' }, async (wasm) => {
      const made = await forwardFor(wasm, inputs, options)
      return { call: made, bits: gradientBits(await wasm.attentionBackward(made, options)) }
    })
    const runtime = await createRuntime(pool)
    try {
      const result = await runtime.attentionBackward(call, { ...options, chunkSize: 8 })
      expect(gradientBits(result)).toBe(bits)
      const ranOnGpuLane = result.report.lanes.some(({ kind }) => kind === 'webgpu')
      expect(result.report.fallbacks.some(({ what }) => what === 'attention backward on wasm in place of webgpu')).toBe(
        ranOnGpuLane,
      )
      if (pool.workers === 0) expect(ranOnGpuLane).toBe(true)
      expect(result.report.reproducible).toBe(true)
      expect(result.report.memory.peakBytes).toBeLessThanOrEqual(result.report.memory.plannedBytes)
      const { output, report } = await runtime.attentionTransposed(
        { query: call.query, key: call.key, logSumExp: call.logSumExp },
        { ...options, chunkSize: 8 },
      )
      expect(output.shape).toEqual([2, 90, 1])
      if (pool.workers === 0)
        expect(report.fallbacks.map(({ what }) => what)).toContain('Pᵀ·X on wasm in place of webgpu')
    } finally {
      await runtime.close()
    }
  })
})
