import { createRuntime } from 'heddle'
import { TransformerBlock } from 'heddle/nn'
import { expect, it } from 'vitest'

const heavy = process.env['HEDDLE_HEAVY'] === '1'
const [tokens, modelDim] = heavy ? [32_768, 512] : [6000, 64]

it(
  `a block over ${tokens} tokens at E ${modelDim} runs in the memory that its plan states`,
  { timeout: 300_000 },
  async () => {
    const runtime = await createRuntime({ workers: 2 })
    try {
      const block = new TransformerBlock({ modelDim, heads: 8, feedForwardDim: 4 * modelDim })
      const x = runtime.tensor([1, tokens, modelDim])
      for (let index = 0; index < x.data.length; index++) x.data[index] = Math.sin(index * 12.9898 + (index % 97))
      const planned = block.plan(runtime, x.shape, { causal: true })
      const before = process.memoryUsage.rss()
      const { output, report } = await block.forward(x, { runtime, causal: true })
      const grown = process.memoryUsage.rss() - before
      expect(report.memory.peakBytes).toBeLessThanOrEqual(planned.totalBytes)
      // The hidden layer of the whole sequence alone would be tokens × 4·E × 4 bytes, a score matrix tokens² × 4 a
      // head.
      const rows = tokens * modelDim * 4
      expect(planned.bytes['activations']).toBeLessThanOrEqual(4 * rows)
      // Beyond the plan: the engine's own heap, a lane's code, and the collector's slack.
      expect(grown).toBeLessThan(planned.totalBytes + 2 * 16e6 + 32e6)
      // Cut in another way, the same bits; a matcher would look at millions of elements one by one.
      const again = await block.forward(x, { runtime, causal: true, chunkSize: 100 })
      expect(Buffer.compare(Buffer.from(again.output.data.buffer), Buffer.from(output.data.buffer))).toBe(0)
    } finally {
      await runtime.close()
    }
  },
)
