import { afterAll, describe, expect, it } from 'vitest'
import { createRuntime, tensor, type Runtime } from 'heddle'
import { TransformerBlock } from 'heddle/nn'
import { normalValues } from '../../src/cli/bench/normal-values.ts'
import { skipReason, testGpu } from './support/software-gpu.ts'

const found = await testGpu()
const host = globalThis as { [key: symbol]: unknown }
host[Symbol.for('heddle.webgpu')] = found.gpu

describe.skipIf(skipReason(found) !== undefined)('a layer’s plan for a GPU lane', { timeout: 60_000 }, () => {
  let runtime: Runtime | undefined
  afterAll(() => runtime?.close())

  it('is never passed, call after call, and bounds within a few times', async () => {
    runtime = await createRuntime({ workers: 0, backend: 'webgpu' })
    const block = new TransformerBlock({ modelDim: 48, heads: 4, feedForwardDim: 96 })
    const x = tensor(normalValues(2 * 90 * 48, 3), [2, 90, 48])
    for (let call = 0; call < 3; call++) {
      const { report } = await block.forward(x, { runtime })
      expect(report.memory.peakBytes).toBeLessThanOrEqual(report.memory.plannedBytes)
      expect(report.memory.peakBytes).toBeGreaterThan(report.memory.plannedBytes / 4)
      expect(report.lanes.map(({ kind }) => kind)).toContain('webgpu')
      // Weights stay, and nothing else.
      expect(runtime.lanes[0]?.residentBytes).toBeGreaterThan(4 * (4 * 48 * 48 + 2 * 48 * 96))
      expect(runtime.lanes[0]?.residentBytes).toBeLessThan(4 * (4 * 48 * 48 + 2 * 48 * 96 + 16 * 96) * 1.1)
    }
  })
})
