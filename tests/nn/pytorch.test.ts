import { createRuntime, type Runtime, type Tensor } from 'heddle'
import { MultiHeadAttention, TransformerBlock, TransformerEncoder } from 'heddle/nn'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { layerFixtures, type LayerFixture } from '../support/fixtures.ts'

/** float32 on both sides, sums in another order: what the layers promise against PyTorch's own float32 answer. */
const TOLERANCE = 1e-5

function expectClose(
  actual: Tensor,
  expected: { data: ArrayLike<number>; shape: readonly number[] },
  masked?: (index: number) => boolean,
): void {
  expect(actual.shape).toEqual([...expected.shape])
  let worst = 0
  for (let index = 0; index < actual.data.length; index++) {
    if (masked?.(index) === true) continue
    const error = Math.abs(actual.data[index]! - expected.data[index]!)
    worst = Math.max(worst, Number.isNaN(error) ? Infinity : error)
  }
  expect(worst).toBeLessThan(TOLERANCE)
}

const options = ({ settings: { causal, keyMask } }: LayerFixture) => ({
  causal,
  ...(keyMask === undefined ? {} : { keyMask }),
})

/** A chunk size sends even tiny work to the workers; without it the calling thread does it. */
const setups = [
  ['calling thread', { workers: 0 }, {}],
  ['two workers, work too small for them', { workers: 2 }, {}],
  ['two workers', { workers: 2 }, { chunkSize: 4 }],
  ['two workers without shared memory', { workers: 2, sharedMemory: 'never' }, { chunkSize: 4 }],
] as const

describe.each(setups)('%s', (_name, runtimeOptions, chunks) => {
  let runtime: Runtime
  beforeAll(async () => {
    runtime = await createRuntime(runtimeOptions)
  })
  afterAll(() => runtime.close())

  describe.each(layerFixtures().map((fixture) => [fixture.name, fixture] as const))('%s', (_fixtureName, fixture) => {
    const { kind, settings, stateDict, inputs } = fixture
    if (kind === 'MultiheadAttention') {
      it("gives PyTorch's output and weights", async () => {
        const layer = new MultiHeadAttention({ modelDim: settings.modelDim, heads: settings.heads })
        layer.loadStateDict(stateDict)
        const { query, key, value } = inputs as { query: Tensor; key?: Tensor; value?: Tensor }
        const sources = { ...(key === undefined ? {} : { key }), ...(value === undefined ? {} : { value }) }
        const { output } = await layer.forward(query, { runtime, ...chunks, ...options(fixture), ...sources })
        expectClose(output, fixture.output)
        expectClose(output, fixture.exactOutput)
        const detailed = await layer.forward(query, {
          runtime,
          ...chunks,
          ...options(fixture),
          ...sources,
          returnWeights: true,
        })
        expectClose(detailed.output, fixture.output)
        expectClose(detailed.weights, fixture.weights!)
      })
      return
    }
    it("gives PyTorch's output", async () => {
      const { modelDim, heads, feedForwardDim, norm, activation, layers } = settings
      const block = { modelDim, heads, feedForwardDim: feedForwardDim!, norm: norm!, activation: activation! }
      const layer =
        kind === 'TransformerEncoder'
          ? new TransformerEncoder({ ...block, layers: layers! })
          : new TransformerBlock(block)
      layer.loadStateDict(stateDict)
      const { output } = await layer.forward(inputs['input']!, { runtime, ...chunks, ...options(fixture) })
      expectClose(output, fixture.output)
      expectClose(output, fixture.exactOutput)
    })

    it('does not depend on the chunk size, bit for bit', async () => {
      const { modelDim, heads, feedForwardDim, norm, activation, layers } = settings
      const block = { modelDim, heads, feedForwardDim: feedForwardDim!, norm: norm!, activation: activation! }
      const layer =
        kind === 'TransformerEncoder'
          ? new TransformerEncoder({ ...block, layers: layers! })
          : new TransformerBlock(block)
      layer.loadStateDict(stateDict)
      const outputs = []
      for (const chunkSize of [1, 3, 1000])
        outputs.push((await layer.forward(inputs['input']!, { runtime, chunkSize, ...options(fixture) })).output)
      expect(outputs[1]).toEqual(outputs[0])
      expect(outputs[2]).toEqual(outputs[0])
    })
  })
})
