import { createRuntime, type Runtime, type RuntimeOptions } from 'heddle'
import { CausalLanguageModel, Linear } from 'heddle/nn'
import { AdamW, crossEntropy, lossAndGradients, meanSquaredError, train } from 'heddle/train'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { floatsByName, gradientFixtures, integers, relativeError } from '../support/gradient-fixtures.ts'

const { model: fixture } = gradientFixtures()
const batch = { tokens: integers(fixture.tokens), targets: integers(fixture.targets) }
const packed = { ...batch, segments: integers(fixture.segments), positions: integers(fixture.positions) }
const loss = crossEntropy({ labelSmoothing: 0.1 })

function makeModel(): CausalLanguageModel {
  const model = new CausalLanguageModel({
    vocabulary: 11,
    modelDim: 16,
    heads: 2,
    layers: 2,
    positions: 'learned',
    maxLength: 24,
    activation: 'gelu',
  })
  model.loadStateDict(floatsByName(fixture.state))
  return model
}

const SETUPS: readonly (readonly [string, RuntimeOptions])[] = [
  ['the calling thread', { workers: 0 }],
  ['two workers', { workers: 2 }],
  ['two workers without shared memory', { workers: 2, sharedMemory: 'never' }],
]

describe.each(SETUPS)('lossAndGradients on %s', (_name, runtimeOptions) => {
  let runtime: Runtime
  beforeAll(async () => {
    runtime = await createRuntime(runtimeOptions)
  })
  afterAll(() => runtime.close())

  it.each([
    ['whole sequences', batch, fixture.plain],
    ['packed sequences', packed, fixture.packed],
  ] as const)("gives PyTorch's loss and gradients of %s", async (_case, given, expected) => {
    const { loss: found, gradients, counted } = await lossAndGradients(makeModel(), given, { loss, runtime })
    expect(counted).toBe(fixture.targets.data.filter((target) => target !== -100).length)
    expect(Math.abs(found - expected.loss)).toBeLessThan(1e-6 * expected.loss)
    expect([...gradients.keys()].sort()).toEqual(Object.keys(expected.gradients).sort())
    for (const [name, { data }] of gradients)
      expect(relativeError(data, expected.gradients[name]?.data ?? []), name).toBeLessThan(1e-5)
  })

  it("leads AdamW along PyTorch's loss curve", async () => {
    const model = makeModel()
    const optimizer = new AdamW(model, { learningRate: 3e-3, weightDecay: 0.1 })
    const losses: number[] = []
    for await (const step of train(model, { data: () => batch, loss, optimizer, steps: 20, runtime }))
      losses.push(step.loss)
    expect(losses).toHaveLength(20)
    losses.forEach((each, step) =>
      expect(Math.abs(each - (fixture.curve[step] ?? NaN)), `step ${step}`).toBeLessThan(1e-4),
    )
    expect(losses[19]).toBeLessThan(losses[0]! - 0.1)
  })
})

describe('lossAndGradients', () => {
  it('gives the same bits for any number of workers, with and without shared memory', async () => {
    const runs: { readonly loss: number; readonly data: Float32Array[] }[] = []
    for (const options of [
      { workers: 0 },
      { workers: 1 },
      { workers: 2 },
      { workers: 3 },
      { workers: 2, sharedMemory: 'never' as const },
    ]) {
      const runtime = await createRuntime(options)
      const model = new CausalLanguageModel({
        vocabulary: 30,
        modelDim: 64,
        heads: 4,
        layers: 2,
        dropout: 0.2,
        seed: 5,
      }).train()
      const tokens = { data: Int32Array.from({ length: 8 * 16 }, (_, index) => (index * 7) % 30), shape: [8, 16] }
      const targets = { data: Int32Array.from({ length: 8 * 16 }, (_, index) => (index * 5 + 3) % 30), shape: [8, 16] }
      for (let repeat = 0; repeat < 2; repeat++) {
        const { loss: found, gradients } = await lossAndGradients(
          model,
          { tokens, targets },
          { loss: crossEntropy(), runtime, seed: 9 },
        )
        runs.push({ loss: found, data: [...gradients.values()].map(({ data }) => data) })
      }
      await runtime.close()
    }
    for (const run of runs) expect(run).toEqual(runs[0])
  })

  it('of a mean squared error leaves out rows that do not count', async () => {
    const runtime = await createRuntime({ workers: 0 })
    const layer = new Linear(2, 1, { bias: false })
    layer.weight.data.set([1, 2])
    const input = { data: Float32Array.of(1, 1, 2, 0, 5, 5), shape: [3, 2] }
    const target = { data: Float32Array.of(1, 3, NaN), shape: [3, 1] }
    const mask = { data: Uint8Array.of(1, 1, 0), shape: [3] }
    const {
      loss: found,
      counted,
      gradients,
    } = await lossAndGradients(layer, { input, target, mask }, { loss: meanSquaredError(), runtime })
    // outputs 3 and 2, differences 2 and −1: loss (4 + 1) / 2; dW = (2·2·[1, 1] + 2·(−1)·[2, 0]) / 2
    expect(counted).toBe(2)
    expect(found).toBe(2.5)
    expect([...(gradients.get('weight')?.data ?? [])]).toEqual([0, 2])
    await runtime.close()
  })

  it('computes only the loss, or only some gradients, where asked', async () => {
    const runtime = await createRuntime({ workers: 0 })
    const all = await lossAndGradients(makeModel(), batch, { loss, runtime })
    const none = await lossAndGradients(makeModel(), batch, { loss, runtime, only: [] })
    expect(none.loss).toBe(all.loss)
    expect(none.gradients.size).toBe(0)
    expect(none.report.plan.flops).toBeLessThan(all.report.plan.flops / 2)
    const one = await lossAndGradients(makeModel(), batch, { loss, runtime, only: ['encoder.norm.bias'] })
    expect([...one.gradients.keys()]).toEqual(['encoder.norm.bias'])
    expect(one.gradients.get('encoder.norm.bias')).toEqual(all.gradients.get('encoder.norm.bias'))
    await runtime.close()
  })

  it('says what was wrong before anything runs', async () => {
    const model = makeModel()
    const wrong = {
      ...batch,
      targets: {
        data: batch.targets.data.map((target, place) => (place === 30 ? 11 : target)),
        shape: batch.targets.shape,
      },
    }
    await expect(lossAndGradients(model, wrong, { loss })).rejects.toThrow(
      'crossEntropy: expected targets from 0 to 10, or -100 to ignore one, got 11 at [1, 6]',
    )
    await expect(lossAndGradients(model, batch, { loss, only: ['head.weight'] })).rejects.toThrow(
      'lossAndGradients: option only: expected names of the model\'s parameters, got "head.weight"',
    )
    await expect(lossAndGradients(model, batch, { loss, rate: 3 } as never)).rejects.toThrow(
      'lossAndGradients: options',
    )
    const tokens = { data: new Int32Array(25), shape: [1, 25] }
    await expect(lossAndGradients(model, { tokens, targets: tokens }, { loss })).rejects.toThrow(
      'expected at most 24 learned positions, got 25',
    )
    const rows = {
      input: { data: new Float32Array(4), shape: [2, 2] },
      target: { data: new Float32Array(4), shape: [2, 2] },
    }
    await expect(
      lossAndGradients(
        new Linear(2, 2),
        { ...rows, segments: { data: new Int32Array(2), shape: [2] } },
        { loss: meanSquaredError() },
      ),
    ).rejects.toThrow('expected a model that takes segments')
  })
})
