import { createRuntime, OptionError, ShapeError, type Runtime, type RuntimeOptions, type Tensor } from 'heddle'
import {
  CausalLanguageModel,
  Embedding,
  FeedForward,
  KeyValueCache,
  Linear,
  MultiHeadAttention,
  PositionalEncoding,
  TransformerBlock,
  TransformerEncoder,
  type BackwardResult,
} from 'heddle/nn'
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest'
import { Random } from '../support/random.ts'
import { allLanes, turns, useRuntime, withRuntime } from '../support/runtimes.ts'
import { fingerprint, integerTensor, normalTensor } from '../support/tensors.ts'

const random = new Random(441)
const E = 8
const x = normalTensor(random, [2, 5, E])
const dOutput = normalTensor(random, [2, 5, E])
const tokens = integerTensor(random, [2, 5], 6)
const block = { modelDim: E, heads: 2 }
const linear = new Linear(E, 3)
const attention = new MultiHeadAttention(block)
const model = new CausalLanguageModel({ ...block, vocabulary: 6, layers: 2 })
const encoder = new TransformerEncoder({ ...block, layers: 2, dropout: 0.5 })
const cache = () => new KeyValueCache({ batch: 2, keyValueHeads: 2, capacity: 9, headSize: 4 })
const dLinear = normalTensor(random, [2, 5, 3])
const dLogits = normalTensor(random, [2, 5, 6])

function bitsOf({ dInput, gradients }: BackwardResult): string {
  return [...(dInput === undefined ? [] : [dInput]), ...gradients.values()].map(({ data }) => fingerprint(data)).join()
}

type Call = (runtime: Runtime) => Promise<unknown>
const cases: readonly (readonly [string, Call, new (message: string) => Error, string])[] = [
  [
    "dOutput of the input's width",
    (runtime) => linear.backward(x, x, { runtime }),
    ShapeError,
    "Linear: expected dOutput of the output's shape [2, 5, 3], got [2, 5, 8]",
  ],
  [
    'dOutput of another rank',
    (runtime) => linear.backward(x, { data: dLinear.data, shape: [10, 3] }, { runtime }),
    ShapeError,
    "expected dOutput of the output's shape [2, 5, 3], got [10, 3]",
  ],
  [
    'dOutput of other rows',
    (runtime) => linear.backward(x, normalTensor(random, [2, 4, 3]), { runtime }),
    ShapeError,
    'got [2, 4, 3]',
  ],
  [
    'dOutput whose data are too short',
    (runtime) => linear.backward(x, { data: new Float32Array(29), shape: [2, 5, 3] }, { runtime }),
    ShapeError,
    'Linear: dOutput',
  ],
  [
    'dOutput of float64',
    (runtime) => linear.backward(x, { data: new Float64Array(30), shape: [2, 5, 3] } as never, { runtime }),
    OptionError,
    'Linear: dOutput',
  ],
  ['no dOutput', (runtime) => linear.backward(x, undefined as never, { runtime }), OptionError, 'Linear: dOutput'],
  [
    "dOutput of the tokens' shape",
    (runtime) => model.backward(tokens, normalTensor(random, [2, 5]), { runtime }),
    ShapeError,
    "expected dOutput of the output's shape [2, 5, 6], got [2, 5]",
  ],
  [
    'an input of another width',
    (runtime) => linear.backward(normalTensor(random, [2, 5, 7]), dLinear, { runtime }),
    ShapeError,
    'Linear: input: expected shape [B, M, 8] or [M, 8], got [2, 5, 7]',
  ],
  [
    'tokens past the vocabulary',
    (runtime) => model.backward({ data: new Int32Array(10).fill(6), shape: [2, 5] }, dLogits, { runtime }),
    OptionError,
    'tokens from 0 to 5',
  ],
  [
    'an unknown option',
    (runtime) => attention.backward(x, dOutput, { runtime, casual: true } as never),
    OptionError,
    'did you mean causal',
  ],
  [
    'an option of another layer',
    (runtime) => linear.backward(x, dLinear, { runtime, causal: true } as never),
    OptionError,
    'causal',
  ],
  [
    'a chunk size of 0',
    (runtime) => linear.backward(x, dLinear, { runtime, chunkSize: 0 }),
    OptionError,
    'option chunkSize',
  ],
  [
    'a signal that is none',
    (runtime) => linear.backward(x, dLinear, { runtime, signal: 5 as never }),
    OptionError,
    'option signal',
  ],
  [
    'a runtime that is none',
    () => linear.backward(x, dLinear, { runtime: {} as never }),
    OptionError,
    'option runtime',
  ],
  [
    'only as a list',
    (runtime) => linear.backward(x, dLinear, { runtime, only: ['weight'] as never }),
    OptionError,
    'option only: expected a function',
  ],
  [
    'a key of another batch',
    (runtime) => attention.backward(x, dOutput, { runtime, key: normalTensor(random, [1, 5, E]) }),
    ShapeError,
    'expected key of batch 2',
  ],
  [
    'a mask of another shape',
    (runtime) => attention.backward(x, dOutput, { runtime, mask: { data: new Uint8Array(12), shape: [3, 4] } }),
    ShapeError,
    'mask',
  ],
  [
    'more rows than learned positions',
    (runtime) =>
      new PositionalEncoding({ modelDim: E, kind: 'learned', maxLength: 4 }).backward(x, dOutput, { runtime }),
    OptionError,
    'at most 4 learned positions',
  ],
  [
    'no seed in training mode',
    (runtime) => new FeedForward({ modelDim: E, dropout: 0.5 }).train().backward(x, dOutput, { runtime }),
    OptionError,
    'expected option seed where dropout is active',
  ],
  [
    'a negative seed',
    (runtime) => new FeedForward({ modelDim: E, dropout: 0.5 }).train().backward(x, dOutput, { runtime, seed: -1 }),
    OptionError,
    'option seed',
  ],
  [
    'a cache in attention',
    (runtime) => attention.backward(x, dOutput, { runtime, cache: cache() }),
    OptionError,
    'MultiHeadAttention: expected no cache in backward, got 1',
  ],
  [
    'a cache in a block',
    (runtime) => new TransformerBlock(block).backward(x, dOutput, { runtime, cache: cache() }),
    OptionError,
    'TransformerBlock: expected no cache in backward, got 1',
  ],
  [
    'caches in an encoder',
    (runtime) => encoder.backward(x, dOutput, { runtime, caches: encoder.createCaches(2, 9) }),
    OptionError,
    'TransformerEncoder: expected no cache in backward, got 2',
  ],
  [
    'caches in a model whose gradients nobody wants',
    (runtime) => model.backward(tokens, dLogits, { runtime, caches: model.createCaches(2, 9), only: () => false }),
    OptionError,
    'CausalLanguageModel: expected no cache in backward, got 2',
  ],
]

const pools: Readonly<Record<string, RuntimeOptions>> = {
  'the calling thread': { workers: 0 },
  'two workers': { workers: 2 },
  'two workers without shared memory': { workers: 2, sharedMemory: 'never' },
}

describe.each(Object.entries(pools))('on %s', (_, pool) => {
  let runtime: Runtime
  let arenaBytes: number | undefined
  const plan = () => linear.plan(runtime, x.shape).bytes
  beforeAll(async () => {
    runtime = await createRuntime(pool)
    await allLanes(runtime)
    arenaBytes = plan()['lane arenas']
  })
  afterAll(() => runtime.close())

  it.each(cases)('%s is a typed error before anything is allocated', async (_name, call, Class, message) => {
    const error: unknown = await call(runtime).then(
      () => 'no error',
      (reason: unknown) => reason,
    )
    expect(error).toBeInstanceOf(Class)
    expect((error as Error).message).toContain(message)
    expect(plan()['kept buffers']).toBeUndefined()
    expect(plan()['lane arenas']).toBe(arenaBytes)
  })

  test('and the runtime stays usable', async () => {
    const result = await encoder.backward(x, dOutput, { runtime })
    expect(bitsOf(result)).toBe(
      await withRuntime({ workers: 0 }, async (other) =>
        bitsOf(await encoder.backward(x, dOutput, { runtime: other })),
      ),
    )
  })
})

const runtime = useRuntime({ workers: 2 })

describe('what is no error', () => {
  test('evaluation mode of a layer with dropout, without a seed: nothing is dropped', async () => {
    const without = new TransformerEncoder({ ...block, layers: 2 })
    expect(bitsOf(await encoder.eval().backward(x, dOutput, { runtime: runtime() }))).toBe(
      bitsOf(await without.backward(x, dOutput, { runtime: runtime() })),
    )
    expect(bitsOf(await encoder.eval().backward(x, dOutput, { runtime: runtime(), seed: 3 }))).toBe(
      bitsOf(await without.backward(x, dOutput, { runtime: runtime() })),
    )
  })

  test("gradients that nobody wants: the input's alone, or none at all", async () => {
    const all = await encoder.backward(x, dOutput, { runtime: runtime() })
    const some = await encoder.backward(x, dOutput, { runtime: runtime(), only: () => false })
    expect(some.gradients.size).toBe(0)
    expect(some.dInput).toEqual(all.dInput)
    const none = await new Embedding(6, E).backward(tokens, dOutput, { runtime: runtime(), only: () => false })
    expect(none.gradients.size).toBe(0)
    expect('dInput' in none).toBe(false)
  })

  test.each([[[0, E]], [[3, 0, E]], [[0, 4, E]]])('no rows, as in %j: gradients of parameters are 0', async (shape) => {
    const empty: Tensor = { data: new Float32Array(0), shape }
    for (const layer of [new Linear(E, E), new FeedForward({ modelDim: E }), attention, new TransformerBlock(block)]) {
      const { dInput, gradients } = await layer.backward(empty, empty, { runtime: runtime() })
      expect(dInput).toEqual(empty)
      expect(gradients.size).toBe(layer.namedParameters().size)
      for (const { data } of gradients.values()) expect(data.every((value) => value === 0)).toBe(true)
    }
  })

  test('NaN in one row of dOutput stays in that row of dInput, and in what sums it', async () => {
    const holed = { data: dLinear.data.slice(), shape: dLinear.shape }
    holed.data[3 * 4 + 1] = NaN // output 1 of row 4
    const { dInput, gradients } = await linear.backward(x, holed, { runtime: runtime() })
    expect(
      Array.from(dInput!.data, (value, at) => Number.isNaN(value) === (Math.floor(at / E) === 4)).every(Boolean),
    ).toBe(true)
    expect([...gradients.get('bias')!.data].map(Number.isNaN)).toEqual([false, true, false])
  })
})

describe('an abort', () => {
  const large = new TransformerEncoder({ modelDim: 64, heads: 4, layers: 6 })
  const rows = normalTensor(random, [3000, 64])
  const failureOf = (call: Promise<unknown>): Promise<unknown> =>
    call.then(
      () => 'no failure',
      (reason: unknown) => reason,
    )

  test('before the call: rejects with its reason', async () => {
    const reason = new Error('mine')
    expect(
      await failureOf(linear.backward(x, dLinear, { runtime: runtime(), signal: AbortSignal.abort(reason) })),
    ).toBe(reason)
  })

  test.each(Object.entries(pools))(
    'in flight, on %s: rejects with its reason, and the lanes are free',
    async (_, pool) => {
      await withRuntime(pool, async (own) => {
        const bits = bitsOf(await encoder.backward(x, dOutput, { runtime: own }))
        const controller = new AbortController()
        const failure = failureOf(large.backward(rows, rows, { runtime: own, signal: controller.signal }))
        // The call has begun to run: its lanes hold their first tasks.
        await turns(20)
        controller.abort(new Error('enough'))
        expect(await failure).toMatchObject({ message: 'enough' })
        expect(bitsOf(await encoder.backward(x, dOutput, { runtime: own, chunkSize: 3 }))).toBe(bits)
      })
    },
  )

  test('close() in the middle: RuntimeClosedError', async () => {
    await withRuntime({ workers: 2 }, async (own) => {
      const failure = failureOf(large.backward(rows, rows, { runtime: own }))
      await turns(20)
      await own.close()
      expect(await failure).toMatchObject({ code: 'RuntimeClosedError' })
      expect(await failureOf(linear.backward(x, dLinear, { runtime: own }))).toMatchObject({
        code: 'RuntimeClosedError',
      })
    })
  })
})
