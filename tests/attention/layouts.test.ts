import { describe, expect, test } from 'vitest'
import { expectOracle } from '../support/expect-attention.ts'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { maskTensor, normalTensor } from '../support/tensors.ts'

const runtime = useRuntime({ workers: 1 })
const [B, H, M, N, D, Dv] = [2, 6, 9, 13, 8, 5]

interface LayoutCase {
  readonly layout: string
  readonly query: readonly number[]
  readonly key: readonly number[]
  readonly value: readonly number[]
  readonly options: { readonly heads?: number; readonly keyValueHeads?: number }
  readonly output: readonly number[]
  readonly scores: readonly number[]
}

const layouts: readonly LayoutCase[] = [
  { layout: '[N, D]', query: [M, D], key: [N, D], value: [N, Dv], options: {}, output: [M, Dv], scores: [M, N] },
  {
    layout: '[B, N, D]',
    query: [B, M, D],
    key: [B, N, D],
    value: [B, N, Dv],
    options: {},
    output: [B, M, Dv],
    scores: [B, M, N],
  },
  {
    layout: '[B, H, N, D]',
    query: [B, H, M, D],
    key: [B, H, N, D],
    value: [B, H, N, Dv],
    options: {},
    output: [B, H, M, Dv],
    scores: [B, H, M, N],
  },
  {
    layout: '[B, H, N, D], grouped heads',
    query: [B, H, M, D],
    key: [B, 2, N, D],
    value: [B, 2, N, Dv],
    options: {},
    output: [B, H, M, Dv],
    scores: [B, H, M, N],
  },
  {
    layout: '[B, N, E]',
    query: [B, M, H * D],
    key: [B, N, H * D],
    value: [B, N, H * Dv],
    options: { heads: H },
    output: [B, M, H * Dv],
    scores: [B, H, M, N],
  },
  {
    layout: '[B, N, E], grouped heads',
    query: [B, M, H * D],
    key: [B, N, 3 * D],
    value: [B, N, 3 * Dv],
    options: { heads: H, keyValueHeads: 3 },
    output: [B, M, H * Dv],
    scores: [B, H, M, N],
  },
  {
    layout: '[B, N, E], one head',
    query: [B, M, D],
    key: [B, N, D],
    value: [B, N, Dv],
    options: { heads: 1 },
    output: [B, M, Dv],
    scores: [B, 1, M, N],
  },
]

describe.each(layouts)('$layout', ({ query, key, value, options, output, scores }) => {
  const random = new Random(21)
  const inputs = {
    query: normalTensor(random, query),
    key: normalTensor(random, key),
    value: normalTensor(random, value),
  }
  const rowShape = scores.slice(0, -1)

  test('equals the oracle in both modes, causal and not', async () => {
    await expectOracle(runtime(), inputs, options)
    await expectOracle(runtime(), inputs, { ...options, causal: true, queryOffset: N - M, chunkSize: 4 })
  })

  test('every shape is the one that the design states', async () => {
    const result = await runtime().attention(inputs, {
      ...options,
      returnWeights: true,
      returnLogSumExp: true,
      returnStatistics: true,
    })
    expect(result.output.shape).toEqual(output)
    expect(result.weights?.shape).toEqual(scores)
    expect(result.logSumExp?.shape).toEqual(rowShape)
    for (const statistic of Object.values(result.statistics ?? {})) expect(statistic.shape).toEqual(rowShape)
    expect(Object.keys(result.statistics ?? {}).sort()).toEqual(['entropy', 'maxIndex', 'maxWeight', 'meanDistance'])
  })

  test('results that were not asked for are absent', async () => {
    const result = await runtime().attention(inputs, options)
    expect(result.weights ?? result.logSumExp ?? result.statistics).toBeUndefined()
  })

  test('a mask and a bias of every shape that broadcasts to the scores, aligned at the right', async () => {
    for (const shape of broadcastShapes(scores)) {
      await expectOracle(runtime(), inputs, { ...options, mask: maskTensor(random, shape), chunkSize: 4 })
      await expectOracle(runtime(), inputs, { ...options, bias: normalTensor(random, shape), chunkSize: 4 })
    }
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

test('views into a larger buffer are read where they start', async () => {
  const random = new Random(22)
  const view = (shape: readonly number[], lead: number) => {
    const { data } = normalTensor(random, [lead + shape.reduce((a, b) => a * b, 1) + 3])
    return { data: data.subarray(lead, data.length - 3), shape }
  }
  await expectOracle(runtime(), { query: view([M, D], 5), key: view([N, D], 1), value: view([N, Dv], 7) })
})

test('query, key and value may be the same tensor', async () => {
  const same = normalTensor(new Random(23), [2, 17, 9])
  await expectOracle(runtime(), { query: same, key: same, value: same }, { causal: true })
})
