import { createRuntime, NumericError, OptionError, type Runtime } from 'heddle'
import { CausalLanguageModel, Linear } from 'heddle/nn'
import {
  AdamW,
  crossEntropy,
  meanSquaredError,
  sequenceBatches,
  sequencesInOrder,
  train,
  type Batch,
  type TrainOptions,
} from 'heddle/train'
import { describe, expect, it } from 'vitest'
import { Random } from '../support/random.ts'
import { useRuntime, withRuntime, WorkerCrew } from '../support/runtimes.ts'

const SIZES = { vocabulary: 12, modelDim: 32, heads: 2, layers: 2, activation: 'gelu', seed: 3 } as const
const made = (more: { dropout?: number } = {}): CausalLanguageModel => new CausalLanguageModel({ ...SIZES, ...more })
const random = new Random(7)
/** Sequences of 4 to 9 tokens. */
const sequences = Array.from({ length: 40 }, () =>
  Int32Array.from({ length: random.integer(4, 9) }, () => random.integer(0, 11)),
)
const runtime = useRuntime({ workers: 2 })

function run(model: CausalLanguageModel, own: Runtime, more: Partial<TrainOptions> = {}): ReturnType<typeof train> {
  const defaults = {
    data: sequenceBatches(sequences, { batch: 8, seed: 1 }),
    loss: crossEntropy(),
    optimizer: new AdamW(model, { learningRate: 0.01 }),
    steps: 6,
    seed: 2,
    runtime: own,
  }
  return train(model, { ...defaults, ...more })
}
/** Makes all steps. */
async function finish(steps: AsyncIterable<unknown>): Promise<void> {
  const iterator = steps[Symbol.asyncIterator]()
  while ((await iterator.next()).done !== true);
}
const bitsOf = (model: CausalLanguageModel): Float32Array[] => model.parameters().map(({ data }) => data.slice())

describe('training a language model', () => {
  it('has the same bits after workers were killed in the middle of steps', async () => {
    const expected = made({ dropout: 0.1 })
    await finish(run(expected, runtime()))
    const crew = new WorkerCrew()
    await withRuntime({ workers: 2, workerFactory: crew.workerFactory }, async (own) => {
      const model = made({ dropout: 0.1 })
      const kills: Promise<unknown>[] = []
      const data = (index: number): Batch => {
        // In the middle of the step that is made with this batch.
        if (index % 2 === 1)
          setImmediate(() => kills.push(...crew.alive.slice(0, 1).map((worker) => worker.terminate())))
        return sequenceBatches(sequences, { batch: 8, seed: 1 })(index)
      }
      await finish(run(model, own, { data }))
      expect(await Promise.all(kills)).toHaveLength(3)
      expect(bitsOf(model)).toEqual(bitsOf(expected))
    })
    await crew.allExited()
  })

  it('resumes with the same bits', async () => {
    const whole = made({ dropout: 0.2 })
    let bytes = new Uint8Array(0)
    let end = new Uint8Array(0)
    for await (const step of run(whole, runtime(), { accumulate: 2 })) {
      if (step.step === 3) bytes = step.checkpoint() as typeof bytes
      if (step.step === 6) end = step.checkpoint() as typeof end
    }
    const resumed = made({ dropout: 0.2 })
    let last = new Uint8Array(0)
    for await (const step of run(resumed, runtime(), { accumulate: 2, resume: bytes }))
      last = step.checkpoint() as typeof last
    expect(last).toEqual(end)
  })

  it('gives packed sequences the loss that they have alone', async () => {
    // At a rate of zero, so that the evaluation sees the weights that the model began with.
    const losses: number[] = []
    for (const options of [{ batch: 40 }, { batch: 40, length: 24, pack: true }]) {
      const evaluate = { every: 1, data: sequencesInOrder(sequences, options) }
      for await (const { evaluation } of run(made(), runtime(), { steps: 1, evaluate, schedule: () => 0 }))
        losses.push(evaluation?.loss ?? NaN)
    }
    expect(losses).toHaveLength(2)
    expect(Math.abs((losses[1] ?? NaN) - (losses[0] ?? NaN))).toBeLessThan(1e-6)
  })

  it('leaves the model free between steps: it generates, with dropout off', async () => {
    const model = made({ dropout: 0.5 })
    const prompt = { data: Int32Array.of(1, 2), shape: [2] }
    const written: number[][] = []
    for await (const { step } of run(model, runtime(), { steps: 3 }))
      written.push([...(await model.generate(prompt, { maxNewTokens: step, runtime: runtime() })).data])
    expect(written.map((tokens) => tokens.length)).toEqual([3, 4, 5])
  })

  it('lets a forward pass that overlaps an update read one set of weights', async () => {
    const model = made()
    const tokens = { data: Int32Array.from({ length: 4 * 1024 }, (_, index) => index % 12), shape: [4, 1024] }
    const pending: Promise<Float32Array>[] = []
    const alone: Float32Array[] = []
    for await (const step of run(model, runtime(), { steps: 5 })) {
      alone.push((await model.forward(tokens, { runtime: runtime() })).output.data)
      // Not awaited: it runs into the next step.
      if (step.step < 5) pending.push(model.forward(tokens, { runtime: runtime() }).then(({ output }) => output.data))
    }
    for (const [index, output] of (await Promise.all(pending)).entries()) expect(output).toEqual(alone[index])
  })

  it('names the step and the first layer whose output is not finite', async () => {
    const model = made()
    const isDiagonal = (at: number): boolean => Math.floor(at / SIZES.modelDim) % SIZES.modelDim === at % SIZES.modelDim
    const data = (index: number): Batch => {
      const weight = model.namedParameters().get('encoder.layers.1.linear1.weight')
      // The weights stay finite; their products do not, even where a product and a sum are rounded once: each feature
      // is one product alone.
      if (index === 2) weight?.data.forEach((_, at, all) => (all[at] = isDiagonal(at) ? 3e38 : 0))
      if (index === 2) weight?.touch()
      return sequenceBatches(sequences, { batch: 8, seed: 1 })(index)
    }
    const error: unknown = await finish(run(model, runtime(), { data })).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(NumericError)
    expect((error as NumericError).message).toMatch(
      /^train: step 3: expected a finite loss, got NaN; the first layer whose output is not finite is encoder\.layers\.1/,
    )
    expect((error as NumericError).details).toMatchObject({ step: 3 })
  })
})

describe('a batch that does not fit', () => {
  it('is refused before anything has changed', async () => {
    const model = made()
    const before = bitsOf(model)
    const tokens = (...values: number[]) => ({ data: Int32Array.from(values), shape: [1, values.length] })
    const attempt = (batch: Batch): Promise<unknown> =>
      finish(run(model, runtime(), { data: [batch] })).catch((reason: unknown) => reason)
    expect(await attempt({ tokens: tokens(1, 12), targets: tokens(1, 1) })).toBeInstanceOf(OptionError)
    expect(String(await attempt({ tokens: tokens(1, 2), targets: tokens(1, 12) }))).toContain(
      'expected targets from 0 to 11, or -100 to ignore one, got 12 at [0, 1]',
    )
    expect(String(await attempt({ tokens: tokens(1, 2), targets: tokens(-100, -100) }))).toContain(
      'expected at least one target that counts',
    )
    expect(bitsOf(model)).toEqual(before)
  })

  it('says so when a sequence is longer than the model’s positions', async () => {
    const model = new CausalLanguageModel({ ...SIZES, positions: 'learned', maxLength: 4 })
    const tokens = { data: Int32Array.of(1, 2, 3, 4, 5), shape: [1, 5] }
    const attempt = finish(run(model, runtime(), { data: [{ tokens, targets: tokens }] }))
    await expect(attempt).rejects.toThrow(/4/)
    await expect(attempt).rejects.toMatchObject({ code: expect.stringMatching(/^(ShapeError|OptionError)$/) as string })
  })
})

describe('a linear layer', () => {
  it('finds the line that its data lies on', async () => {
    const own = await createRuntime({ workers: 0 })
    const layer = new Linear(1, 1, { seed: 4 })
    const data = (index: number): Batch => {
      const x = Float32Array.from({ length: 8 }, (_, row) => ((index * 8 + row) % 17) / 17)
      return { input: { data: x, shape: [8, 1] }, target: { data: x.map((value) => 3 * value - 1), shape: [8, 1] } }
    }
    await finish(
      train(layer, {
        data,
        loss: meanSquaredError(),
        optimizer: new AdamW(layer, { learningRate: 0.05, weightDecay: 0 }),
        steps: 400,
        runtime: own,
      }),
    )
    expect(layer.weight.data[0]).toBeCloseTo(3, 1)
    await own.close()
  })
})
