import { describe, expect, it } from 'vitest'
import { OptionError, ShapeError } from '../../src/core/errors.ts'
import type { Batch } from '../../src/train/batch.ts'
import { gradientNorm } from '../../src/train/clip.ts'
import { crossEntropy } from '../../src/train/losses.ts'
import { AdamW } from '../../src/train/optimizers/adam.ts'
import { SGD } from '../../src/train/optimizers/sgd.ts'
import { linear } from '../../src/train/schedules.ts'
import { stepsOf, tinyRun, valuesOf, type Options } from './support/runs.ts'
import { tinyBatch, tinyGradients, TinyModel, type SeenCall } from './support/tiny-model.ts'

const batches = (count: number): Batch[] => Array.from({ length: count }, (_, index) => tinyBatch(index))

describe('train', () => {
  it('makes steps that learn, and says what each did', async () => {
    const model = new TinyModel()
    const run = tinyRun(model, { steps: 60, schedule: linear({ steps: 60, minimum: 0.01 }), clipNorm: 0.4 })
    const [start, steps] = [valuesOf(model), await stepsOf(run)]
    expect(steps.map(({ step }) => step)).toEqual(Array.from({ length: 60 }, (_, index) => index + 1))
    expect(steps[0]?.loss).toBeGreaterThan(1.5)
    expect(steps.slice(-10).reduce((sum, { loss }) => sum + loss / 10, 0)).toBeLessThan(1)
    expect(steps.map(({ learningRate }) => learningRate).slice(0, 2)).toEqual([0.05, 0.01 + (0.04 * 59) / 60])
    // the norm before clipping is that of the gradients themselves
    const { gradients } = await tinyGradients()(new TinyModel(), tinyBatch(0), { loss: crossEntropy() })
    expect(steps[0]?.gradientNorm).toBe(await gradientNorm(gradients))
    expect(steps[0]?.gradientNorm).toBeGreaterThan(0.4)
    for (const { counted, elapsedMs, tokensPerSecond, skipped } of steps) {
      expect(counted).toBe(8)
      expect(tokensPerSecond).toBeCloseTo((8 / elapsedMs) * 1000, 6)
      expect(skipped).toBe(false)
    }
    expect(valuesOf(model)).not.toEqual(start)
  })

  it('gives each group its own rate of the schedule', async () => {
    const model = new TinyModel()
    const before = valuesOf(model)
    const optimizer = new SGD(model, {
      learningRate: 1,
      groups: [{ match: (name) => name.startsWith('head'), learningRate: 0 }],
    })
    await stepsOf(tinyRun(model, { optimizer, steps: 3, schedule: (_, base) => base / 2 }))
    expect(valuesOf(model).slice(24)).toEqual(before.slice(24))
    expect(valuesOf(model).slice(0, 24)).not.toEqual(before.slice(0, 24))
  })

  it('clips what the optimizer sees', async () => {
    const norms = await Promise.all(
      [undefined, 0.01].map(async (clipNorm) => {
        const model = new TinyModel()
        const before = valuesOf(model)
        await stepsOf(
          tinyRun(model, {
            steps: 1,
            optimizer: new SGD(model, { learningRate: 1 }),
            ...(clipNorm === undefined ? {} : { clipNorm }),
          }),
        )
        return Math.hypot(...valuesOf(model).map((value, index) => value - (before[index] ?? NaN)))
      }),
    )
    expect(norms[0]).toBeGreaterThan(0.1)
    expect(norms[1]).toBeCloseTo(0.01, 4)
  })

  it('averages the batches of a step by how many targets count', async () => {
    const parts = batches(3)
    const [a, b, c] = parts.map(({ targets }) => targets?.data ?? new Int32Array(0))
    a?.fill(-100, 0, 7)
    c?.fill(-100, 4)
    const join = (pick: (batch: Batch) => Int32Array | undefined) => ({
      data: Int32Array.from(parts.flatMap((batch) => Array.from(pick(batch) ?? []))),
      shape: [24],
    })
    const whole: Batch = {
      tokens: join(({ tokens }) => tokens?.data),
      targets: { data: Int32Array.from([...(a ?? []), ...(b ?? []), ...(c ?? [])]), shape: [24] },
    }
    const results = await Promise.all(
      ([{ data: [whole] }, { data: parts, accumulate: 3 }] satisfies Options[]).map(async (options) => {
        const model = new TinyModel()
        const [step] = await stepsOf(
          tinyRun(model, { ...options, optimizer: new SGD(model, { learningRate: 1 }), steps: 1 }),
        )
        return { values: valuesOf(model), step }
      }),
    )
    expect(results[1]?.step?.counted).toBe(1 + 8 + 4)
    expect(results[1]?.step?.loss).toBeCloseTo(results[0]?.step?.loss ?? NaN, 12)
    // float32 rounds once per batch
    for (const [index, value] of (results[0]?.values ?? []).entries())
      expect(results[1]?.values[index]).toBeCloseTo(value, 6)
  })

  it('gives every batch of every step a seed of its own, the same in each run', async () => {
    const seedsOf = async (seed: number): Promise<unknown[]> => {
      const seen: SeenCall[] = []
      await stepsOf(tinyRun(new TinyModel(), { accumulate: 2, steps: 3, seed }, tinyGradients(seen)))
      return seen.map(({ options }) => options.seed)
    }
    const seeds = await seedsOf(1)
    expect(new Set(seeds).size).toBe(6)
    expect(await seedsOf(1)).toEqual(seeds)
    expect((await seedsOf(2)).filter((seed) => seeds.includes(seed))).toEqual([])
  })

  it('is in training mode inside a step only', async () => {
    const model = new TinyModel(6, 4, 0.5)
    const seen: SeenCall[] = []
    for await (const step of tinyRun(
      model,
      { steps: 2, evaluate: { every: 1, data: batches(2) } },
      tinyGradients(seen),
    ))
      expect([step.step > 0, model.training]).toEqual([true, false])
    // a step, then its evaluation over two batches without gradients
    expect(seen.map(({ training, options }) => [training, options.only?.length])).toEqual([
      [true, 2],
      [false, 0],
      [false, 0],
      [true, 2],
      [false, 0],
      [false, 0],
    ])
    model.train()
    await stepsOf(tinyRun(model, { steps: 1, evaluate: { every: 1, data: batches(1) } }))
    expect(model.training).toBe(true)
  })

  it('trains the parameters that it is told to', async () => {
    const model = new TinyModel()
    const before = valuesOf(model)
    const seen: SeenCall[] = []
    await stepsOf(tinyRun(model, { only: ['head.weight'], steps: 2 }, tinyGradients(seen)))
    expect(seen[0]?.options.only).toEqual(['head.weight'])
    expect(valuesOf(model).slice(0, 24)).toEqual(before.slice(0, 24))
    expect(valuesOf(model).slice(24)).not.toEqual(before.slice(24))
    // an optimizer of a part asks for the gradients of that part
    const embedding = new Map([...model.namedParameters()].filter(([name]) => name === 'embedding.weight'))
    await stepsOf(tinyRun(model, { optimizer: new AdamW(embedding), steps: 1 }, tinyGradients(seen)))
    expect(seen.at(-1)?.options.only).toEqual(['embedding.weight'])
  })
})

describe('data', () => {
  it.each([
    ['an array', () => batches(5)],
    ['a generator', () => batches(5).values()],
    [
      'an async generator',
      async function* () {
        yield* await Promise.resolve(batches(5))
      },
    ],
  ] as const)('may be %s, and the run ends with it', async (_, make) => {
    expect(await stepsOf(tinyRun(new TinyModel(), { data: make(), steps: 99 }))).toHaveLength(5)
    // the last step takes what is left
    const steps = await stepsOf(tinyRun(new TinyModel(), { data: make(), accumulate: 2, steps: 99 }))
    expect(steps.map(({ counted }) => counted)).toEqual([16, 16, 8])
  })

  it('may be a function of the batch’s number, sync or async', async () => {
    const asked: number[] = []
    const data = (index: number): Promise<Batch> => {
      asked.push(index)
      return Promise.resolve(tinyBatch(index))
    }
    await stepsOf(tinyRun(new TinyModel(), { data, steps: 3, accumulate: 2 }))
    expect(asked).toEqual([0, 1, 2, 3, 4, 5])
  })

  it('is let go of by break, by an error and by the last step', async () => {
    let returned = 0
    const source = (second?: Batch): Iterable<Batch> => ({
      [Symbol.iterator]: () => {
        let index = 0
        return {
          next: () => ({ done: false, value: index++ === 1 && second !== undefined ? second : tinyBatch(index) }),
          return: () => ({ done: true, value: returned++ }),
        }
      },
    })
    for await (const step of tinyRun(new TinyModel(), { data: source() })) if (step.step === 2) break
    expect(returned).toBe(1)
    await stepsOf(tinyRun(new TinyModel(), { data: source(), steps: 2 }))
    expect(returned).toBe(2)
    await expect(stepsOf(tinyRun(new TinyModel(), { data: source({} as Batch) }))).rejects.toThrow(
      'train: batch 1: expected either tokens or input, got neither',
    )
    expect(returned).toBe(3)
  })

  it('must hold a batch', async () => {
    await expect(stepsOf(tinyRun(new TinyModel(), { data: [] }))).rejects.toThrow(
      'train: option data: expected at least one batch, got none',
    )
    await expect(stepsOf(tinyRun(new TinyModel(), { steps: 1, evaluate: { every: 1, data: [] } }))).rejects.toThrow(
      'evaluate: expected at least one batch, got none',
    )
  })

  it('must fit: shapes, classes and loss', async () => {
    const [good] = batches(1)
    if (good?.targets === undefined) throw new Error('no batch')
    const short = { ...good, targets: { data: new Int32Array(4), shape: [4] } } as Batch
    await expect(stepsOf(tinyRun(new TinyModel(), { data: [short] }))).rejects.toThrow(ShapeError)
    good.targets.data[5] = 6
    await expect(stepsOf(tinyRun(new TinyModel(), { data: [good] }))).rejects.toThrow(
      'expected targets from 0 to 5, or -100 to ignore one, got 6 at [1, 1]',
    )
  })
})

describe('evaluation', () => {
  it('is the mean over all held-out targets, at the steps asked for and after the last one', async () => {
    const [a, b] = batches(2)
    if (a?.targets === undefined || b === undefined) throw new Error('no batches')
    a.targets.data.fill(-100, 2)
    const model = new TinyModel()
    const [first, second, third, ...more] = await stepsOf(
      tinyRun(model, { steps: 3, evaluate: { every: 2, data: () => [a, b] } }),
    )
    expect([first?.evaluation, third?.evaluation?.best.step !== undefined, more]).toEqual([undefined, true, []])
    const twin = new TinyModel()
    await stepsOf(tinyRun(twin, { steps: 2 }))
    const [lossA, lossB] = await Promise.all(
      [a, b].map((batch) => tinyGradients()(twin, batch, { loss: crossEntropy(), only: [] })),
    )
    expect(second?.evaluation?.loss).toBeCloseTo(((lossA?.loss ?? NaN) * 2 + (lossB?.loss ?? NaN) * 8) / 10, 12)
    expect(second?.evaluation).toMatchObject({
      best: { step: 2, loss: second?.evaluation?.loss },
      isBest: true,
      sinceBest: 0,
    })
  })

  it('ends a run that no longer improves, and gives the model its best parameters', async () => {
    // held-out data of another language: learning makes it worse
    const other = batches(4).map(({ tokens }): Batch => ({
      tokens: tokens as NonNullable<typeof tokens>,
      targets: tokens as NonNullable<typeof tokens>,
    }))
    const model = new TinyModel()
    const values = new Map<number, number[]>()
    const run = tinyRun(model, { steps: 1000, evaluate: { every: 5, data: other, patience: 3, keepBest: true } })
    const seen: { step: number; loss: number; best: number; since: number }[] = []
    let last: Awaited<ReturnType<typeof stepsOf>>[number] | undefined
    for await (const step of run) {
      last = step
      values.set(step.step, valuesOf(model))
      if (step.evaluation !== undefined)
        seen.push({
          step: step.step,
          loss: step.evaluation.loss,
          best: step.evaluation.best.step,
          since: step.evaluation.sinceBest,
        })
    }
    const best = seen.reduce((least, evaluation) => (evaluation.loss < least.loss ? evaluation : least))
    expect(seen.slice(-3).map(({ since }) => since)).toEqual([1, 2, 3])
    expect(seen.at(-1)?.best).toBe(best.step)
    expect(last?.step).toBe(best.step + 15)
    expect(valuesOf(model)).toEqual(values.get(best.step))
    expect(valuesOf(model)).not.toEqual(values.get(last?.step ?? 0))
    expect(() => last?.checkpoint()).toThrow(OptionError)
  })
})
