import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { createRuntime, type HeddleError, type Runtime, type RuntimeOptions, type Tensor } from 'heddle'
import { CausalLanguageModel, Linear, Module, type ForwardOptions } from 'heddle/nn'
import {
  crossEntropy,
  lossAndGradients,
  meanSquaredError,
  type Batch,
  type GradientOptions,
  type GradientResult,
} from 'heddle/train'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const VOCABULARY = 13
const loss = crossEntropy()

function makeModel(): CausalLanguageModel {
  return new CausalLanguageModel({
    vocabulary: VOCABULARY,
    modelDim: 16,
    heads: 2,
    layers: 2,
    positions: 'learned',
    maxLength: 32,
    dropout: 0.2,
    seed: 3,
  }).train()
}

const ids = (count: number, of: (index: number) => number): Int32Array =>
  Int32Array.from({ length: count }, (_, index) => of(index))

/** Batch `turn`: other tokens, other targets, and another number of targets that count. */
function batchOf(turn: number, shape: readonly number[] = [3, 12]): Batch {
  const count = shape.reduce((product, size) => product * size, 1)
  const tokens = { data: ids(count, (index) => (index * 7 + 3 * turn) % VOCABULARY), shape }
  const targets = {
    data: ids(count, (index) => (index % (5 + turn) === 0 ? -100 : (index * 5 + turn) % VOCABULARY)),
    shape,
  }
  return { tokens, targets }
}

/** The same, with sequences of `length` packed into each row. */
function packedBatch(turn: number, length: number): Batch {
  const shape = [3, 12]
  return {
    ...batchOf(turn, shape),
    segments: { data: ids(36, (index) => Math.floor((index % 12) / length)), shape },
    positions: { data: ids(36, (index) => (index % 12) % length), shape },
  }
}

function bitsOf({ loss: value, counted, gradients }: GradientResult): unknown {
  return { value, counted, gradients: [...gradients].map(([name, { data }]) => [name, data]) }
}

const SETUPS: readonly (readonly [string, RuntimeOptions])[] = [
  ['the calling thread', { workers: 0 }],
  ['two workers', { workers: 2 }],
  ['two workers without shared memory', { workers: 2, sharedMemory: 'never' }],
]

describe.each(SETUPS)('programs of training steps on %s', (_name, runtimeOptions) => {
  let runtime: Runtime
  beforeAll(async () => {
    runtime = await createRuntime(runtimeOptions)
  })
  afterAll(() => runtime.close())
  const run = (
    model: CausalLanguageModel,
    batch: Batch,
    options: Partial<GradientOptions> = {},
  ): Promise<GradientResult> => lossAndGradients(model, batch, { loss, runtime, seed: 1, ...options })

  it('are used again, with the bits of a program of their own', async () => {
    const model = makeModel()
    for (let turn = 0; turn < 3; turn++) {
      const result = await run(model, batchOf(turn), { seed: turn })
      expect(result.report.programReused).toBe(turn > 0)
      // A model that has never run has no program to use again.
      expect(bitsOf(result)).toEqual(bitsOf(await run(makeModel(), batchOf(turn), { seed: turn })))
    }
  })

  it("say what the lanes' time went into", async () => {
    const { report } = await run(makeModel(), batchOf(0))
    const work = new Map(report.work.map(({ what, ms }) => [what, ms]))
    expect([...work.keys()].sort()).toEqual(['attention backward', 'backward', 'forward', 'turn', 'weight gradients'])
    for (const [what, ms] of work) expect(ms, what).toBeGreaterThan(0)
    const busyMs = report.lanes.reduce((sum, lane) => sum + lane.busyMs, 0)
    expect([...work.values()].reduce((sum, ms) => sum + ms, 0)).toBeCloseTo(busyMs, 6)
    const evaluation = await run(makeModel().eval(), batchOf(0), { only: [] })
    expect(evaluation.report.work.map(({ what }) => what)).toEqual(['forward'])
  })

  it('serve packed batches of other lengths', async () => {
    const model = makeModel()
    for (const [turn, length] of [4, 6, 3].entries()) {
      const result = await run(model, packedBatch(turn, length))
      expect(result.report.programReused).toBe(turn > 0)
      expect(bitsOf(result)).toEqual(bitsOf(await run(makeModel(), packedBatch(turn, length))))
    }
  })
})

describe('a program of a training step', () => {
  let runtime: Runtime
  beforeAll(async () => {
    runtime = await createRuntime({ workers: 0 })
  })
  afterAll(() => runtime.close())
  const run = (
    model: CausalLanguageModel,
    batch: Batch,
    options: Partial<GradientOptions> = {},
  ): Promise<GradientResult> => lossAndGradients(model, batch, { loss, runtime, seed: 1, ...options })

  const changes: readonly (readonly [string, (model: CausalLanguageModel) => Promise<GradientResult>])[] = [
    ['another shape', (model) => run(model, batchOf(1, [2, 12]))],
    ['as many rows in other sequences', (model) => run(model, batchOf(1, [12, 3]))],
    ['evaluation mode', (model) => run(model.eval(), batchOf(1))],
    ['some of the parameters', (model) => run(model, batchOf(1), { only: ['embedding.weight'] })],
    ['the loss alone', (model) => run(model, batchOf(1), { only: [] })],
    ['another loss', (model) => run(model, batchOf(1), { loss: crossEntropy({ labelSmoothing: 0.1 }) })],
    ['segments', (model) => run(model, packedBatch(1, 4))],
  ]
  it.each(changes)('is not used for %s, and is still there afterwards', async (_name, changed) => {
    const model = makeModel()
    await run(model, batchOf(0))
    const result = await changed(model)
    expect(result.report.programReused).toBe(false)
    expect(bitsOf(result)).toEqual(bitsOf(await changed(makeModel())))
    expect((await run(model.train(), batchOf(2))).report.programReused).toBe(true)
  })

  it('serves one call at a time: a second one meanwhile has its own', async () => {
    const model = makeModel()
    await run(model, batchOf(0))
    const results = await Promise.all([1, 2].map((turn) => run(model, batchOf(turn), { seed: turn })))
    expect(results.map(({ report }) => report.programReused)).toEqual([true, false])
    for (const [index, result] of results.entries())
      expect(bitsOf(result)).toEqual(bitsOf(await run(makeModel(), batchOf(index + 1), { seed: index + 1 })))
  })

  it('serves again after a call that was aborted', async () => {
    const model = makeModel()
    await run(model, batchOf(0))
    const controller = new AbortController()
    const aborted = run(model, batchOf(1), { signal: controller.signal })
    controller.abort()
    await expect(aborted).rejects.toThrow(/abort/i)
    const result = await run(model, batchOf(2))
    expect(result.report.programReused).toBe(true)
    expect(bitsOf(result)).toEqual(bitsOf(await run(makeModel(), batchOf(2))))
  })

  it('is dropped when eight others were used since', async () => {
    const model = makeModel()
    for (let length = 2; length <= 10; length++) await run(model, batchOf(0, [1, length]))
    expect((await run(model, batchOf(0, [1, 10]))).report.programReused).toBe(true)
    expect((await run(model, batchOf(0, [1, 2]))).report.programReused).toBe(false)
  })

  it("is not used when a layer of one's own builds something else", async () => {
    class Chosen extends Module<Float32Array, ForwardOptions> {
      readonly inputDim = 2
      readonly first = this.addModule('first', new Linear(2, 2, { seed: 1 }))
      readonly second = this.addModule('second', new Linear(2, 2, { seed: 2 }))
      chosen = this.first

      override build(...[graph, input]: Parameters<Linear['build']>): ReturnType<Linear['build']> {
        return this.chosen.build(graph, input)
      }
    }
    const layer = new Chosen()
    const rows: Tensor = { data: Float32Array.of(1, 2), shape: [1, 2] }
    const step = (): Promise<GradientResult> =>
      lossAndGradients(layer, { input: rows, target: rows }, { loss: meanSquaredError(), runtime })
    await step()
    layer.chosen = layer.second
    const { report, gradients } = await step()
    expect(report.programReused).toBe(false)
    expect([...(gradients.get('first.weight')?.data ?? [])]).toEqual([0, 0, 0, 0])
    expect([...(gradients.get('second.weight')?.data ?? [])].every((value) => value !== 0)).toBe(true)
  })

  it('is decided anew where memory let it keep less', async () => {
    const shape = [32, 32]
    const refused = await createRuntime({ workers: 0, memoryBudgetBytes: 1 })
    const { details } = (await run(makeModel(), batchOf(0, shape), { runtime: refused }).catch(
      (error: unknown) => error,
    )) as HeddleError
    const memoryBudgetBytes = details['smallestBudgetBytes'] as number
    const tight = await createRuntime({ workers: 0, memoryBudgetBytes })
    const model = makeModel()
    const reused: boolean[] = []
    for (let turn = 0; turn < 6; turn++) {
      const result = await run(model, batchOf(turn, shape), { runtime: tight })
      reused.push(result.report.programReused)
      expect(result.report.plan.keeps).toBe('nothing')
      expect(result.report.memory.peakBytes - (result.report.memory.peakByPurpose['details'] ?? 0)).toBeLessThanOrEqual(
        memoryBudgetBytes + (result.report.memory.peakByPurpose['output'] ?? 0),
      )
      expect(bitsOf(result)).toEqual(bitsOf(await run(makeModel(), batchOf(turn, shape))))
    }
    // The lanes grew in the first run: what is kept was decided once more, and then no longer.
    expect(reused.slice(0, 2)).toEqual([false, false])
    expect(reused.at(-1)).toBe(true)
    await Promise.all([refused.close(), tight.close()])
  })

  it('does not keep its model alive', async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const trainOne = async (): Promise<WeakRef<CausalLanguageModel>> => {
      const model = makeModel()
      for (let turn = 0; turn < 2; turn++) await run(model, batchOf(turn))
      return new WeakRef(model)
    }
    const model = await trainOne()
    for (let turn = 0; turn < 20 && model.deref() !== undefined; turn++) {
      await new Promise((resolve) => setImmediate(resolve))
      collect()
    }
    expect(model.deref()).toBeUndefined()
  })
})
