import { createRuntime } from 'heddle'
import { LayerNorm, Linear, TransformerBlock, TransformerEncoder, type AnyModule } from 'heddle/nn'
import { describe, expect, it } from 'vitest'
import { Random } from '../support/random.ts'
import { withRuntime } from '../support/runtimes.ts'
import { normalTensor } from '../support/tensors.ts'

const sizes = { modelDim: 8, heads: 2, feedForwardDim: 12, seed: 4 } as const
const [input, dOutput] = [normalTensor(new Random(1), [2, 35, 8]), normalTensor(new Random(2), [2, 35, 8])]

describe('gradients of layers', () => {
  it.each([{ workers: 0 }, { workers: 2 }, { workers: 2, sharedMemory: 'never' as const }])(
    'have the same bits whatever ran before, in memory that is used again: %j',
    async (pool) => {
      const block = new TransformerBlock(sizes)
      const others: readonly AnyModule[] = [
        new Linear(8, 8),
        new LayerNorm(8),
        new TransformerEncoder({ ...sizes, layers: 2 }),
      ]
      await withRuntime(pool, async (runtime) => {
        const first = await block.backward(input, dOutput, { runtime })
        for (const other of others) await other.backward(input, dOutput, { runtime })
        const again = await block.backward(input, dOutput, { runtime, chunkSize: 5 })
        for (const [name, { data }] of first.gradients) expect(again.gradients.get(name)?.data, name).toEqual(data)
        expect(again.dInput?.data).toEqual(first.dInput?.data)
      })
    },
  )

  it('can be asked for by name, and the others are left out', async () => {
    const block = new TransformerBlock(sizes)
    await withRuntime({ workers: 0 }, async (runtime) => {
      const all = await block.backward(input, dOutput, { runtime })
      const some = await block.backward(input, dOutput, { runtime, only: (name: string) => name.startsWith('norm') })
      expect([...some.gradients.keys()]).toEqual(['norm1.weight', 'norm1.bias', 'norm2.weight', 'norm2.bias'])
      for (const [name, { data }] of some.gradients) expect(data).toEqual(all.gradients.get(name)?.data)
      expect(some.report.plan.flops).toBeLessThan(all.report.plan.flops)
    })
  })

  it('of a block with dropout are the slopes of its forward pass', async () => {
    const runtime = await createRuntime({ workers: 0 })
    const block = new TransformerBlock({ modelDim: 8, heads: 2, dropout: 0.3, seed: 3 }).train()
    const input = { data: Float32Array.from({ length: 6 * 8 }, (_, index) => Math.sin(3 * index)), shape: [6, 8] }
    const direction = Float32Array.from({ length: 6 * 8 }, (_, index) => Math.cos(5 * index))
    const dOutput = { data: Float32Array.from({ length: 6 * 8 }, (_, index) => Math.sin(7 * index + 1)), shape: [6, 8] }
    const { dInput } = await block.backward(input, dOutput, { runtime, seed: 11 })
    const step = 1e-3
    const weighted = async (sign: number): Promise<number> => {
      const moved = {
        data: input.data.map((value, index) => value + sign * step * (direction[index] ?? 0)),
        shape: [6, 8],
      }
      const { output } = await block.forward(moved, { runtime, seed: 11 })
      return output.data.reduce((sum, value, index) => sum + value * (dOutput.data[index] ?? 0), 0)
    }
    const measured = ((await weighted(1)) - (await weighted(-1))) / (2 * step)
    const expected = (dInput?.data ?? new Float32Array()).reduce(
      (sum, value, index) => sum + value * (direction[index] ?? 0),
      0,
    )
    expect(Math.abs(measured - expected)).toBeLessThan(5e-3 * Math.max(1, Math.abs(expected)))
    await runtime.close()
  })
})
