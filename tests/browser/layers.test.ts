import { createRuntime, type RuntimeOptions } from 'heddle'
import { TransformerBlock } from 'heddle/nn'
import { describe, expect, test } from 'vitest'
import { filled } from '../support/tensors.ts'

const input = filled([2, 45, 32], (at) => Math.sin(at * 1.7))

async function blockOutput(options: RuntimeOptions, norm: 'pre' | 'post'): Promise<Float32Array> {
  const runtime = await createRuntime(options)
  try {
    const block = new TransformerBlock({
      modelDim: 32,
      heads: 4,
      feedForwardDim: 64,
      dropout: 0,
      norm,
      activation: 'gelu',
      seed: 3,
    })
    const { output, report } = await block.forward(input, { runtime })
    expect(report.fallbacks.filter(({ what }) => what.startsWith('wasm in place'))).toEqual([])
    return output.data
  } finally {
    await runtime.close()
  }
}

describe.each(['pre', 'post'] as const)('a transformer block, %s-norm', (norm) => {
  test('on a GPU lane is the one on the calling thread, within the tolerance', async () => {
    const expected = await blockOutput({ workers: 0 }, norm)
    const actual = await blockOutput({ backend: { webgpu: 1 } }, norm)
    // Both are float32: each is within 1e-5 + 1e-5·|x| of the exact value.
    actual.forEach((value, at) =>
      expect(Math.abs(value - (expected[at] as number))).toBeLessThan(2e-5 * (1 + Math.abs(value))),
    )
  })

  test('has the same bits on workers and on the calling thread', async () => {
    expect(await blockOutput({ workers: 2, backend: 'wasm' }, norm)).toEqual(await blockOutput({ workers: 0 }, norm))
  })
})
