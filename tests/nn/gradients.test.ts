import { createRuntime, type Runtime, type RuntimeOptions } from 'heddle'
import { LayerNorm, Linear, TransformerBlock, TransformerEncoder, type BackwardResult } from 'heddle/nn'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { floats, floatsByName, gradientFixtures, relativeError, type GradientFixture } from '../support/gradient-fixtures.ts'

const { layers } = gradientFixtures()
/** float32 against float64: sums of up to 70 rows. */
const TOLERANCE = 1e-5

const CLASSES = { Linear, LayerNorm, TransformerBlock, TransformerEncoder }

function layerOf({ layer, arguments: args, state }: GradientFixture) {
  const made = new CLASSES[layer](...(args as [never, never]))
  made.loadStateDict(floatsByName(state))
  return made
}

function backward(fixture: GradientFixture, runtime: Runtime, options: object = {}): Promise<BackwardResult> {
  return layerOf(fixture).backward(floats(fixture.input), floats(fixture.dOutput), { runtime, ...fixture.options, ...options })
}

const SETUPS: readonly (readonly [string, RuntimeOptions])[] = [
  ['the calling thread', { workers: 0 }],
  ['two workers', { workers: 2 }],
  ['two workers without shared memory', { workers: 2, sharedMemory: 'never' }],
]

describe.each(SETUPS)('gradients of layers on %s', (_name, runtimeOptions) => {
  let runtime: Runtime
  beforeAll(async () => {
    runtime = await createRuntime(runtimeOptions)
  })
  afterAll(() => runtime.close())

  it.each(layers.map((fixture, index) => [`${index}: ${fixture.layer} ${JSON.stringify(fixture.arguments)}`, fixture] as const))('equal PyTorch\'s: %s', async (_case, fixture) => {
    for (const options of [{}, { chunkSize: 8 }]) {
      const { dInput, gradients, report } = await backward(fixture, runtime, options)
      expect(dInput?.shape).toEqual(fixture.input.shape)
      expect(relativeError(dInput?.data ?? [], fixture.dInput.data)).toBeLessThan(TOLERANCE)
      expect([...gradients.keys()].sort()).toEqual(Object.keys(fixture.gradients).sort())
      for (const [name, { data, shape }] of gradients) {
        expect(shape, name).toEqual(fixture.gradients[name]?.shape)
        expect(relativeError(data, fixture.gradients[name]?.data ?? []), name).toBeLessThan(TOLERANCE)
      }
      expect(report.memory.peakBytes).toBeGreaterThan(0)
    }
  })

  it('are the same bits whatever ran before, in memory that is used again', async () => {
    const fixture = layers[3] as GradientFixture
    const first = await backward(fixture, runtime)
    for (const other of layers) await backward(other, runtime)
    const again = await backward(fixture, runtime, { chunkSize: 5 })
    for (const [name, { data }] of first.gradients) expect(again.gradients.get(name)?.data, name).toEqual(data)
    expect(again.dInput?.data).toEqual(first.dInput?.data)
  })
})

describe('gradients of layers', () => {
  it('are the same bits for any number of workers, with and without shared memory', async () => {
    const found: BackwardResult[][] = []
    for (const options of [{ workers: 0 }, { workers: 1 }, { workers: 2 }, { workers: 4 }, { workers: 2, sharedMemory: 'never' as const }]) {
      const runtime = await createRuntime(options)
      const results: BackwardResult[] = []
      for (const fixture of layers) results.push(await backward(fixture, runtime))
      found.push(results)
      await runtime.close()
    }
    const [expected, ...others] = found
    for (const results of others) {
      results.forEach((result, index) => {
        expect(result.dInput?.data).toEqual(expected?.[index]?.dInput?.data)
        for (const [name, { data }] of result.gradients) expect(data, name).toEqual(expected?.[index]?.gradients.get(name)?.data)
      })
    }
  })

  it('can be asked for by name, and the others are left out', async () => {
    const fixture = layers.find(({ layer }) => layer === 'TransformerBlock') as GradientFixture
    const runtime = await createRuntime({ workers: 0 })
    const all = await backward(fixture, runtime)
    const some = await backward(fixture, runtime, { only: (name: string) => name.startsWith('norm') })
    expect([...some.gradients.keys()]).toEqual(['norm1.weight', 'norm1.bias', 'norm2.weight', 'norm2.bias'])
    for (const [name, { data }] of some.gradients) expect(data).toEqual(all.gradients.get(name)?.data)
    expect(some.report.plan.flops).toBeLessThan(all.report.plan.flops)
    await runtime.close()
  })

  it('want dOutput in the output\'s shape', async () => {
    const layer = new Linear(4, 3)
    const input = { data: new Float32Array(8), shape: [2, 4] }
    await expect(layer.backward(input, { data: new Float32Array(8), shape: [2, 4] })).rejects.toThrow('Linear: expected dOutput of the output\'s shape [2, 3], got [2, 4]')
  })

  it('need the seed of the forward pass where dropout is active', async () => {
    const block = new TransformerBlock({ modelDim: 8, heads: 2, dropout: 0.5 }).train()
    const input = { data: new Float32Array(32).fill(0.5), shape: [4, 8] }
    await expect(block.backward(input, input)).rejects.toThrow('expected option seed')
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
      const moved = { data: input.data.map((value, index) => value + sign * step * (direction[index] ?? 0)), shape: [6, 8] }
      const { output } = await block.forward(moved, { runtime, seed: 11 })
      return output.data.reduce((sum, value, index) => sum + value * (dOutput.data[index] ?? 0), 0)
    }
    const measured = ((await weighted(1)) - (await weighted(-1))) / (2 * step)
    const expected = (dInput?.data ?? new Float32Array()).reduce((sum, value, index) => sum + value * (direction[index] ?? 0), 0)
    expect(Math.abs(measured - expected)).toBeLessThan(5e-3 * Math.max(1, Math.abs(expected)))
    await runtime.close()
  })
})
