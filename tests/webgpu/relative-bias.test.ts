import { createRuntime, type Fallback } from 'heddle'
import { describe, expect, test } from 'vitest'
import { worst } from '../nn/worst.ts'
import { forwardFor } from '../support/gradient-checks.ts'
import { Random } from '../support/random.ts'
import { withRuntime } from '../support/runtimes.ts'
import { normalTensor } from '../support/tensors.ts'
import { skipReason, testGpu } from './support/software-gpu.ts'

const found = await testGpu()
const host = globalThis as { [key: symbol]: unknown }
host[Symbol.for('heddle.webgpu')] = found.gpu

const random = new Random(62)
const inputs = {
  query: normalTensor(random, [1, 2, 100, 16]),
  key: normalTensor(random, [1, 2, 150, 16]),
  value: normalTensor(random, [1, 2, 150, 16]),
}

/** Without those of the engine, such as one that has no relaxed SIMD. */
const onWasm = (fallbacks: readonly Fallback[]): string[] =>
  fallbacks.map(({ what }) => what).filter((what) => what.endsWith('in place of webgpu'))

describe.skipIf(skipReason(found) !== undefined)('a bias by distance over a GPU lane', { timeout: 120_000 }, () => {
  test('forward runs there and is what wasm gives; gradients run on wasm, and the report says so', async () => {
    const options = { causal: true, queryOffset: 50, relativeBias: normalTensor(random, [2, 61]) }
    const wasm = await withRuntime({ workers: 0, backend: 'wasm' }, async (runtime) => {
      const call = await forwardFor(runtime, inputs, options)
      return { call, result: await runtime.attentionBackward(call, options) }
    })
    const runtime = await createRuntime({ workers: 0, backend: 'webgpu' })
    try {
      const { output, report } = await runtime.attention(inputs, { ...options, chunkSize: 32 })
      expect(worst(output.data, wasm.call.output.data)).toBeLessThan(1e-5)
      expect(onWasm(report.fallbacks)).toEqual([])
      expect(new Set(report.lanes.map(({ kind }) => kind))).toEqual(new Set(['webgpu']))
      const gradients = await runtime.attentionBackward(wasm.call, options)
      expect(gradients.dRelativeBias!.data).toEqual(wasm.result.dRelativeBias!.data)
      expect(onWasm(gradients.report.fallbacks)).toEqual(['attention backward on wasm in place of webgpu'])
    } finally {
      await runtime.close()
    }
  })
})
