import { describe, expect, it } from 'vitest'
import { NumericError, OptionError } from '../../src/core/errors.ts'
import type { Batch } from '../../src/train/batch.ts'
import { AdamW } from '../../src/train/optimizers/adam.ts'
import { stepsOf, tinyRun, valuesOf, type Options } from './support/runs.ts'
import { tinyBatch, tinyGradients, TinyModel, type SeenCall } from './support/tiny-model.ts'

describe('what is not finite', () => {
  /** The third batch's loss is NaN: its tokens meet a weight that is. */
  const poisoned =
    (model: TinyModel) =>
    (index: number): Batch => {
      if (index === 2) model.head.data[3] = NaN
      return tinyBatch(index)
    }

  it('ends the run with the step and the parameter', async () => {
    const model = new TinyModel()
    const error: unknown = await stepsOf(tinyRun(model, { data: poisoned(model) })).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(NumericError)
    expect((error as Error).message).toBe(
      'train: step 3: expected a finite loss, got NaN; the first parameter that is not finite is head.weight (NaN at element 3)',
    )
    expect((error as NumericError).details).toMatchObject({ step: 3, layer: 'head' })
  })

  it('names the first layer whose output is not finite, of a model that can be watched', async () => {
    const model = Object.assign(new TinyModel(), {
      forward: (_: unknown, { monitorNorms }: { monitorNorms: (event: object) => void }) => {
        for (const [layer, nonFinite] of [
          ['one', 0],
          ['two', 5],
          ['three', 9],
        ])
          monitorNorms({ layer, nonFinite })
        return Promise.resolve()
      },
    })
    const call = async (...[module, batch, options]: Parameters<ReturnType<typeof tinyGradients>>) => ({
      ...(await tinyGradients()(module, batch, options)),
      loss: Infinity,
    })
    await expect(stepsOf(tinyRun(model, {}, call))).rejects.toThrow(
      'train: step 1: expected a finite loss, got Infinity; the first layer whose output is not finite is two',
    )
  })

  it('may be in the gradients alone', async () => {
    const model = new TinyModel()
    const before = valuesOf(model)
    const call = async (...[module, batch, options]: Parameters<ReturnType<typeof tinyGradients>>) => {
      const result = await tinyGradients()(module, batch, options)
      result.gradients.get('head.weight')?.data.set([Infinity], 7)
      return result
    }
    for (const clipNorm of [{}, { clipNorm: 1 }]) {
      await expect(stepsOf(tinyRun(model, clipNorm, call))).rejects.toThrow(
        /^train: step 1: (gradientNorm|clipGradNorm): expected finite gradients, got Infinity at element 7 of head.weight/,
      )
    }
    expect(valuesOf(model)).toEqual(before)
    const steps = await stepsOf(tinyRun(model, { skipNonFinite: true, steps: 2 }, call))
    expect(steps.map(({ skipped, gradientNorm: norm }) => [skipped, norm])).toEqual([
      [true, NaN],
      [true, NaN],
    ])
    expect(valuesOf(model)).toEqual(before)
  })

  it('may skip the step instead', async () => {
    const model = new TinyModel()
    let calls = 0
    const call = async (...[module, batch, options]: Parameters<ReturnType<typeof tinyGradients>>) => ({
      ...(await tinyGradients()(module, batch, options)),
      ...(calls++ === 1 ? { loss: NaN } : {}),
    })
    const steps = await stepsOf(tinyRun(model, { skipNonFinite: true, steps: 3 }, call))
    expect(steps.map(({ skipped }) => skipped)).toEqual([false, true, false])
    // the same as a run without that batch, which the schedule counts all the same
    const twin = new TinyModel()
    await stepsOf(tinyRun(twin, { data: [tinyBatch(0), tinyBatch(2)] }))
    expect(valuesOf(model)).toEqual(valuesOf(twin))
  })
})

describe('an abort', () => {
  it('leaves the model after its last whole step, wherever it comes', async () => {
    const reference: number[][] = []
    const twin = new TinyModel()
    reference.push(valuesOf(twin))
    for await (const step of tinyRun(twin, { accumulate: 2 })) reference[step.step] = valuesOf(twin)
    for (let place = 0; place < 12; place++) {
      const controller = new AbortController()
      const model = new TinyModel()
      let calls = 0
      const call: ReturnType<typeof tinyGradients> = (module, batch, options) => {
        if (calls++ === place) controller.abort(new Error('enough'))
        return tinyGradients()(module, batch, options)
      }
      await expect(stepsOf(tinyRun(model, { accumulate: 2, signal: controller.signal }, call))).rejects.toThrow(
        'enough',
      )
      expect(valuesOf(model)).toEqual(reference[Math.floor(place / 2)])
      expect(model.training).toBe(false)
    }
  })

  it('is heard while a batch is awaited', async () => {
    const controller = new AbortController()
    const waiting = { [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => undefined) }) }
    const run = stepsOf(tinyRun(new TinyModel(), { data: waiting, signal: controller.signal }))
    setImmediate(() => controller.abort(new Error('enough')))
    await expect(run).rejects.toThrow('enough')
    await expect(stepsOf(tinyRun(new TinyModel(), { signal: AbortSignal.abort(new Error('before')) }))).rejects.toThrow(
      'before',
    )
  })
})

describe('options', () => {
  const model = new TinyModel()

  it.each([
    [{ step: 5 }, /got "step" \(did you mean steps\?\)/],
    [{ data: 5 }, /option data: expected an iterable, an async iterable or a function/],
    [{ loss: 'crossEntropy' }, /option loss: expected a loss made by/],
    [{ loss: { kind: 'hinge' } }, /option loss.kind: expected "crossEntropy" or "meanSquaredError"/],
    [{ optimizer: {} }, /option optimizer: expected an optimizer/],
    [
      { optimizer: new AdamW(new TinyModel()) },
      /expected one of the model's parameters under the model's names; embedding.weight, head.weight are none of them/,
    ],
    [{ steps: 0 }, /option steps: expected an integer ≥ 1/],
    [{ accumulate: 0 }, /option accumulate/],
    [{ schedule: 1 }, /option schedule: expected a function/],
    [{ clipNorm: 0 }, /option clipNorm: expected a number above 0/],
    [{ seed: -1 }, /option seed/],
    [{ only: ['nothing'] }, /option only: expected names of the optimizer's parameters, got "nothing"/],
    [{ only: [] }, /option only: expected at least one name/],
    [{ skipNonFinite: 1 }, /option skipNonFinite/],
    [{ signal: {} }, /option signal: expected an AbortSignal/],
    [{ resume: 'file' }, /option resume: expected the bytes of a checkpoint/],
    [{ evaluate: { every: 1 } }, /option evaluate.data: expected an iterable/],
    [
      { evaluate: { every: 1, data: [].values() } },
      /option evaluate.data: expected batches that can be iterated more than once/,
    ],
    [{ evaluate: { every: 0, data: [] } }, /option evaluate.every/],
    [{ evaluate: { every: 1, data: [], patience: 0 } }, /option evaluate.patience/],
    [{ checkpoint: { every: 1 } }, /option checkpoint.save: expected a function/],
    [
      { checkpoint: { every: 1, save: () => 0, metadata: { a: 1 } } },
      /option checkpoint.metadata: expected an object of strings/,
    ],
  ])('refuses %j at the call', (options, message) => {
    expect(() => tinyRun(model, options as Options)).toThrow(OptionError)
    expect(() => tinyRun(model, options as Options)).toThrow(message)
  })

  it('refuses a schedule that gives no number before it computes anything', async () => {
    const seen: SeenCall[] = []
    await expect(
      stepsOf(tinyRun(model, { schedule: (step) => (step === 1 ? NaN : 1) }, tinyGradients(seen))),
    ).rejects.toThrow('train: step 2: learning rate: expected a finite number ≥ 0, got number NaN')
    expect(seen).toHaveLength(1)
  })
})
