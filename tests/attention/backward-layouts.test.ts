import { describe, expect, test } from 'vitest'
import { expectGradients, expectTransposed } from '../support/expect-backward.ts'
import { forwardFor } from '../support/gradient-checks.ts'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { maskTensor, normalTensor, shared } from '../support/tensors.ts'

const runtime = useRuntime({ workers: 2 })
const byTransfer = useRuntime({ workers: 2, sharedMemory: 'never' })
const [B, H, M, N, D, Dv, C] = [2, 6, 9, 13, 8, 5, 3]

interface LayoutCase {
  readonly layout: string
  readonly query: readonly number[]
  readonly key: readonly number[]
  readonly value: readonly number[]
  readonly rows: readonly number[]
  readonly transposed: readonly number[]
  readonly scores: readonly number[]
  readonly options: { readonly heads?: number; readonly keyValueHeads?: number }
}

const layouts: readonly LayoutCase[] = [
  {
    layout: '[N, D]',
    query: [M, D],
    key: [N, D],
    value: [N, Dv],
    rows: [M, C],
    transposed: [N, C],
    scores: [M, N],
    options: {},
  },
  {
    layout: '[B, N, D]',
    query: [B, M, D],
    key: [B, N, D],
    value: [B, N, Dv],
    rows: [B, M, C],
    transposed: [B, N, C],
    scores: [B, M, N],
    options: {},
  },
  {
    layout: '[B, H, N, D]',
    query: [B, H, M, D],
    key: [B, H, N, D],
    value: [B, H, N, Dv],
    rows: [B, H, M, C],
    transposed: [B, H, N, C],
    scores: [B, H, M, N],
    options: {},
  },
  {
    layout: '[B, H, N, D], grouped heads',
    query: [B, H, M, D],
    key: [B, 2, N, D],
    value: [B, 2, N, Dv],
    rows: [B, H, M, C],
    transposed: [B, H, N, C],
    scores: [B, H, M, N],
    options: {},
  },
  {
    layout: '[B, N, E]',
    query: [B, M, H * D],
    key: [B, N, H * D],
    value: [B, N, H * Dv],
    rows: [B, M, H * C],
    transposed: [B, N, H * C],
    scores: [B, H, M, N],
    options: { heads: H },
  },
  {
    layout: '[B, N, E], grouped heads',
    query: [B, M, H * D],
    key: [B, N, 3 * D],
    value: [B, N, 3 * Dv],
    rows: [B, M, H * C],
    transposed: [B, N, H * C],
    scores: [B, H, M, N],
    options: { heads: H, keyValueHeads: 3 },
  },
]

describe.each(layouts)('$layout', ({ query, key, value, rows, transposed, scores, options }) => {
  const random = new Random(21)
  const inputs = {
    query: normalTensor(random, query),
    key: normalTensor(random, key),
    value: normalTensor(random, value),
  }

  test.each([
    { way: 'shared', of: runtime },
    { way: 'transfer', of: byTransfer },
  ])('gradients equal the oracle by $way, causal and not', async ({ of }) => {
    await expectGradients(of(), inputs, { ...options, chunkSize: 4 })
    await expectGradients(of(), inputs, { ...options, causal: true, queryOffset: N - M, chunkSize: 1 })
  })

  test('gradients stand in shared memory where every input does, and are written in place', async () => {
    const inShared = { query: shared(inputs.query), key: shared(inputs.key), value: shared(inputs.value) }
    const { output, logSumExp, dOutput, ...rest } = await forwardFor(runtime(), inShared, options)
    const call = { ...rest, output: shared(output), logSumExp: shared(logSumExp), dOutput: shared(dOutput) }
    // A chunk size keeps so small a call on the workers.
    const onWorkers = { ...options, chunkSize: 8 }
    const [plain, direct] = [
      await runtime().attentionBackward({ ...call, dOutput }, onWorkers),
      await runtime().attentionBackward(call, onWorkers),
    ]
    for (const name of ['dQuery', 'dKey', 'dValue'] as const) {
      expect(direct[name].data.buffer, name).toBeInstanceOf(SharedArrayBuffer)
      expect(plain[name].data.buffer, name).toBeInstanceOf(ArrayBuffer)
      expect([...direct[name].data], name).toEqual([...plain[name].data])
    }
  })

  test('Pᵀ·X is per query head', async () => {
    const { output } = await expectTransposed(runtime(), inputs, normalTensor(random, rows), options)
    expect(output.shape).toEqual(transposed)
    const received = await expectTransposed(byTransfer(), inputs, undefined, options)
    expect(received.output.shape).toEqual([...transposed.slice(0, -1), transposed.at(-1)! / C])
  })

  test('a mask, and dBias of a bias, of every shape that broadcasts to the scores', async () => {
    for (const shape of broadcastShapes(scores)) {
      await expectGradients(runtime(), inputs, { ...options, mask: maskTensor(random, shape) })
      const { dBias } = await expectGradients(runtime(), inputs, {
        ...options,
        bias: normalTensor(random, shape),
        chunkSize: 8,
      })
      expect(dBias?.shape).toEqual(shape)
    }
  })

  test('the same by transfer', async () => {
    for (const shape of broadcastShapes(scores).filter((_, at) => at % 3 === 0)) {
      await expectGradients(byTransfer(), inputs, {
        ...options,
        bias: normalTensor(random, shape),
        mask: maskTensor(random, shape, 0.9),
        chunkSize: 8,
      })
    }
  })

  test('without biasGradient there is no dBias, and the others keep their bits', async () => {
    const bias = normalTensor(random, scores)
    const call = await forwardFor(runtime(), inputs, { ...options, bias })
    const [full, lean] = [
      await runtime().attentionBackward(call, { ...options, bias }),
      await runtime().attentionBackward(call, { ...options, bias, biasGradient: false }),
    ]
    expect('dBias' in lean).toBe(false)
    for (const name of ['dQuery', 'dKey', 'dValue'] as const) expect([...lean[name].data]).toEqual([...full[name].data])
  })
})

/** Every suffix of the shape, with every choice of sizes set to 1. */
function broadcastShapes(shape: readonly number[]): number[][] {
  const shapes: number[][] = [[]]
  for (let rank = 1; rank <= shape.length; rank++) {
    const suffix = shape.slice(-rank)
    for (let ones = 0; ones < 2 ** rank; ones++)
      shapes.push(suffix.map((size, axis) => (ones & (1 << axis) ? 1 : size)))
  }
  return shapes
}

test('query, key and value may be the same tensor, and views into a larger buffer', async () => {
  const same = normalTensor(new Random(23), [2, 17, 9])
  await expectGradients(runtime(), { query: same, key: same, value: same }, { causal: true })
  const { data } = normalTensor(new Random(24), [5 + 2 * 17 * 9])
  const view = { data: data.subarray(5), shape: [2, 17, 9] }
  await expectGradients(runtime(), { query: view, key: view, value: view })
})

test('nothing to see, and nothing at all: zeros', async () => {
  const some = normalTensor(new Random(25), [2, 4, 3])
  for (const [rows, keys] of [
    [0, 4],
    [4, 0],
    [0, 0],
  ] as const) {
    const inputs = {
      query: { data: some.data.subarray(0, 2 * rows * 3), shape: [2, rows, 3] },
      key: { data: some.data.subarray(0, 2 * keys * 3), shape: [2, keys, 3] },
    }
    const { dQuery, dKey, dValue } = await expectGradients(runtime(), { ...inputs, value: inputs.key })
    for (const { data } of [dQuery, dKey, dValue]) expect(data.every((x) => Object.is(x, 0))).toBe(true)
    await expectTransposed(runtime(), { ...inputs, value: inputs.key }, undefined)
  }
  const empty = { data: new Float32Array(0), shape: [0, 2, 4, 3] }
  expect((await expectGradients(runtime(), { query: empty, key: empty, value: empty })).dKey.shape).toEqual([
    0, 2, 4, 3,
  ])
})
