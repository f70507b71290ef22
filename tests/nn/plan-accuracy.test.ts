import type { RuntimeOptions } from 'heddle'
import { MultiHeadAttention, TransformerEncoder, type LayerAttentionOptions } from 'heddle/nn'
import { beforeAll, describe, expect, it } from 'vitest'
import { Random } from '../support/random.ts'
import { allLanes, useRuntime } from '../support/runtimes.ts'
import { integerTensor, maskTensor, normalTensor } from '../support/tensors.ts'

const pools: Record<string, RuntimeOptions> = {
  'the calling thread': { workers: 0 },
  'shared memory': { workers: 2 },
  transfer: { workers: 2, sharedMemory: 'never' },
}

const [B, M, E] = [2, 700, 64]
const random = new Random(17)
const x = normalTensor(random, [B, M, E])
const options: Record<string, LayerAttentionOptions> = {
  'no option': {},
  'a mask': { mask: maskTensor(random, [M, M]) },
  'a bias for each batch': { bias: normalTensor(random, [B, M, M]) },
  segments: { segments: { query: integerTensor(random, [B, M], 3), key: integerTensor(random, [B, M], 3) } },
  'a key mask with holes': { keyMask: maskTensor(random, [B, M]) },
}

describe.each(Object.entries(pools))('the bytes of a layer’s plan over %s', (_name, pool) => {
  const runtime = useRuntime(pool)
  // A lane that has not started is planned for, but takes nothing.
  beforeAll(() => allLanes(runtime()))
  const layers = {
    attention: new MultiHeadAttention({ modelDim: E, heads: 4 }),
    encoder: new TransformerEncoder({ modelDim: E, heads: 4, feedForwardDim: 128, layers: 2 }),
  }

  it.each(Object.entries(options))('hold with %s', async (_, each) => {
    await allLanes(runtime())
    for (const [name, layer] of Object.entries(layers)) {
      const promised = layer.plan(runtime(), x.shape, each).totalBytes
      const { memory } = (await layer.forward(x, { runtime: runtime(), ...each })).report
      expect(memory.plannedBytes, name).toBe(promised)
      expect(memory.peakBytes, name).toBeLessThanOrEqual(promised)
      expect(memory.peakBytes, name).toBeGreaterThanOrEqual(0.95 * promised)
    }
  })
})
