import type { Worker } from 'node:worker_threads'
import { createRuntime, type Runtime, type RuntimeOptions, type Tensor, type TensorData } from 'heddle'
import {
  CausalLanguageModel,
  Embedding,
  FeedForward,
  MultiHeadAttention,
  TransformerEncoder,
  type AnyModule,
  type BackwardResult,
} from 'heddle/nn'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Random } from '../support/random.ts'
import { allLanes, turns, turnsUntil, WorkerCrew, withRuntime } from '../support/runtimes.ts'
import { fingerprint, integerTensor, normalTensor, shared } from '../support/tensors.ts'

const random = new Random(411)

interface Case {
  readonly layer: AnyModule
  readonly input: Tensor<TensorData>
  readonly dOutput: Tensor
  readonly options: object
}

/** Of the layer's output shape. */
const cases: Readonly<Record<string, Case>> = {
  'several slabs': {
    layer: new FeedForward({ modelDim: 64, feedForwardDim: 512, activation: 'gelu' }),
    input: normalTensor(random, [9000, 64]),
    dOutput: normalTensor(random, [9000, 64]),
    options: {},
  },
  'chunks that run on into the next sequences': {
    layer: new TransformerEncoder({
      modelDim: 16,
      heads: 4,
      keyValueHeads: 2,
      layers: 2,
      rotary: true,
      dropout: 0.2,
      norm: 'pre',
    }).train(),
    input: normalTensor(random, [7, 13, 16]),
    dOutput: normalTensor(random, [7, 13, 16]),
    options: { causal: true, seed: 5 },
  },
  'tokens that come again and again': {
    layer: new CausalLanguageModel({
      vocabulary: 9,
      modelDim: 24,
      heads: 2,
      layers: 1,
      positions: 'learned',
      maxLength: 40,
      dropout: 0.1,
    }).train(),
    input: integerTensor(random, [5, 37], 9),
    dOutput: normalTensor(random, [5, 37, 9]),
    options: { seed: 2n ** 40n },
  },
  'a table of several columns': {
    layer: new Embedding(5, 150),
    input: integerTensor(random, [1, 700], 5),
    dOutput: normalTensor(random, [1, 700, 150]),
    options: {},
  },
  'several key segments': {
    layer: new MultiHeadAttention({ modelDim: 16, heads: 2, keyValueHeads: 1, rotary: true }),
    input: normalTensor(random, [1, 90, 16]),
    dOutput: normalTensor(random, [1, 90, 16]),
    options: { key: normalTensor(random, [1, 2600, 16]), value: normalTensor(random, [1, 2600, 16]) },
  },
}

const CHUNK_SIZES = [undefined, 1, 64]

function backward(
  { layer, input, dOutput, options }: Case,
  runtime: Runtime,
  chunkSize?: number,
): Promise<BackwardResult> {
  return layer.backward(input, dOutput, { ...options, runtime, ...(chunkSize === undefined ? {} : { chunkSize }) })
}

/** The bits of everything that a call gave. */
function bitsOf({ gradients, report: _report, ...ofInputs }: BackwardResult): string {
  const tensors = [...Object.entries(ofInputs), ...gradients] as [string, Tensor][]
  return tensors.map(([name, { data, shape }]) => `${name} [${shape.join()}] ${fingerprint(data)}`).join('\n')
}

const bits = new Map<string, string>()
beforeAll(() =>
  withRuntime({ workers: 0 }, async (runtime) => {
    for (const [name, each] of Object.entries(cases)) bits.set(name, bitsOf(await backward(each, runtime)))
  }),
)

const pools: Readonly<Record<string, RuntimeOptions>> = {
  'the calling thread': { workers: 0 },
  'two workers': { workers: 2 },
  'four workers': { workers: 4 },
  'two workers without shared memory': { workers: 2, sharedMemory: 'never' },
  'the calling thread without shared memory': { workers: 0, sharedMemory: 'never' },
}

describe.each(Object.entries(pools))('%s: the same bits', (_, pool) => {
  let runtime: Runtime
  beforeAll(async () => {
    runtime = await createRuntime(pool)
  })
  afterAll(() => runtime.close())

  test.each(Object.entries(cases))('with %s, for any chunk size', async (name, each) => {
    for (const chunkSize of CHUNK_SIZES)
      expect(bitsOf(await backward(each, runtime, chunkSize)), `${chunkSize}`).toBe(bits.get(name))
  })

  test.each(Object.entries(cases))(
    'with %s, from shared memory',
    async (name, { input, dOutput, options, ...each }) => {
      const { dInput, gradients, ...result } = await backward(
        { ...each, options, input: shared(input), dOutput: shared(dOutput) },
        runtime,
      )
      expect(bitsOf({ ...(dInput === undefined ? {} : { dInput }), gradients, ...result })).toBe(bits.get(name))
    },
  )
})

describe.each(['auto', 'never'] as const)('workers lost, shared memory: %s', (sharedMemory) => {
  const name = 'several slabs'
  const each = cases[name]!

  test('killed at any moment: the same bits, or WorkerLostError', async () => {
    const crew = new WorkerCrew()
    let retried = 0
    await withRuntime({ workers: 2, sharedMemory, workerFactory: crew.workerFactory }, async (runtime) => {
      await allLanes(runtime)
      const calm = await turnsUntil(backward(each, runtime))
      for (let run = 0; run < 8; run++) {
        const pending = backward(each, runtime).then(
          (result) => ({ result }),
          (error: unknown) => ({ error }),
        )
        await turns(random.integer(0, calm))
        if (crew.alive.length > 0) await random.pick(crew.alive).terminate()
        const outcome = await pending
        if ('error' in outcome) {
          expect(outcome.error).toMatchObject({ code: 'WorkerLostError' })
          continue
        }
        expect(bitsOf(outcome.result)).toBe(bits.get(name))
        retried += outcome.result.report.retries
      }
    })
    // A test in which no death ever hit the run would prove nothing.
    expect(retried).toBeGreaterThan(0)
  }, 60_000)

  /** Workers that die as soon as they have got a share: the first `count` of them. */
  const deadly = (crew: WorkerCrew, count: number) => (): Worker => {
    const worker = crew.workerFactory()
    if (crew.workers.length > count) return worker
    const post = worker.postMessage.bind(worker)
    worker.postMessage = (...message: Parameters<Worker['postMessage']>) => {
      post(...message)
      // Comlink names the method: the start comes before, beats in between.
      if ((message[0] as { path?: readonly string[] }).path?.[0] === 'run') void worker.terminate()
    }
    return worker
  }

  test('at the first share: the run begins again, and counts it', async () => {
    const crew = new WorkerCrew()
    await withRuntime({ workers: 1, sharedMemory, workerFactory: deadly(crew, 1) }, async (runtime) => {
      const result = await backward(each, runtime)
      expect(result.report.retries).toBe(1)
      expect(bitsOf(result)).toBe(bits.get(name))
    })
  })

  test('three times: WorkerLostError, and the runtime stays usable', async () => {
    const crew = new WorkerCrew()
    await withRuntime({ workers: 1, sharedMemory, workerFactory: deadly(crew, 3) }, async (runtime) => {
      await expect(backward(each, runtime)).rejects.toMatchObject({ code: 'WorkerLostError' })
      expect(bitsOf(await backward(each, runtime))).toBe(bits.get(name))
    })
  })
})
