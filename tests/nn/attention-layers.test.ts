import { createRuntime, type Runtime } from 'heddle'
import { MultiHeadAttention, TransformerBlock, TransformerEncoder, type NormEvent, type TraceEvent } from 'heddle/nn'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Random } from '../support/random.ts'
import { normalTensor } from '../support/tensors.ts'
import { worst } from './worst.ts'

let runtime: Runtime
let local: Runtime
beforeAll(async () => {
  runtime = await createRuntime({ workers: 2 })
  local = await createRuntime({ workers: 0 })
})
afterAll(() => Promise.all([runtime.close(), local.close()]))

describe('attention layers', () => {
  const random = new Random(6)
  it('are equivariant to permutations', async () => {
    const layer = new TransformerBlock({ modelDim: 16, heads: 4, feedForwardDim: 32, seed: 3 })
    const x = normalTensor(random, [9, 16])
    const order = random.shuffle([...Array(9).keys()])
    const permuted = {
      data: Float32Array.from(order.flatMap((row) => [...x.data.slice(row * 16, row * 16 + 16)])),
      shape: x.shape,
    }
    const straight = (await layer.forward(x, { runtime })).output.data
    const shuffled = (await layer.forward(permuted, { runtime })).output.data
    order.forEach((row, place) =>
      expect(worst(shuffled.slice(place * 16, place * 16 + 16), straight.slice(row * 16, row * 16 + 16))).toBeLessThan(
        2e-6,
      ),
    )
  })

  it('give the same bits for any chunk size and pool', async () => {
    const layer = new TransformerEncoder({
      modelDim: 32,
      heads: 4,
      keyValueHeads: 2,
      feedForwardDim: 48,
      layers: 2,
      norm: 'pre',
      activation: 'gelu',
      rotary: true,
    })
    const x = normalTensor(random, [2, 130, 32])
    const straight = (await layer.forward(x, { runtime: local, causal: true })).output.data
    for (const chunkSize of [1, 7, 64, 65, 130])
      expect((await layer.forward(x, { runtime, chunkSize, causal: true })).output.data).toEqual(straight)
  })

  // Which elements are dropped, and where they differ: dropout-masks. Their bits: output-bits.
  it('dropout needs a seed, changes with it, and is the same for any chunk size', async () => {
    const layer = new TransformerEncoder({
      modelDim: 16,
      heads: 2,
      feedForwardDim: 24,
      layers: 2,
      dropout: 0.5,
    }).train()
    const x = normalTensor(random, [20, 16])
    await expect(layer.forward(x, { runtime })).rejects.toThrow(/seed/)
    const straight = (await layer.forward(x, { runtime: local, seed: 5n })).output.data
    expect((await layer.forward(x, { runtime, chunkSize: 3, seed: 5n })).output.data).toEqual(straight)
    const other = (await layer.forward(x, { runtime, seed: 6n })).output.data
    const evaluated = (await layer.eval().forward(x, { runtime })).output.data
    // Every row loses something to half of its elements being dropped.
    for (let row = 0; row < 20; row++) {
      const [a, b, c] = [straight, other, evaluated].map((data) => data.slice(row * 16, row * 16 + 16))
      expect(worst(a!, b!)).toBeGreaterThan(0.1)
      expect(worst(a!, c!)).toBeGreaterThan(0.1)
    }
  })

  it('a mask [B, M, N] is one for each batch and the same for all heads; [B, H, M, N] is one for each head', async () => {
    // As many batches as heads, so that an axis in the wrong place would still fit.
    const [B, M, E] = [2, 3, 8]
    const layer = new MultiHeadAttention({ modelDim: E, heads: 2 })
    const x = normalTensor(random, [B, M, E])
    const lower = [1, 0, 0, 1, 1, 0, 1, 1, 1]
    const upper = [1, 1, 1, 0, 1, 1, 0, 0, 1]
    const masked = async (mask: readonly number[], shape: readonly number[]) =>
      (await layer.forward(x, { runtime, mask: { data: Uint8Array.from(mask), shape } })).output.data
    const [causal, anticausal] = [await masked(lower, [M, M]), await masked(upper, [M, M])]
    const batch = (data: Float32Array, b: number) => data.slice(b * M * E, (b + 1) * M * E)
    const perBatch = await masked([...lower, ...upper], [B, M, M])
    expect(worst(causal, (await layer.forward(x, { runtime, causal: true })).output.data)).toBeLessThan(1e-6)
    expect(worst(batch(perBatch, 0), batch(causal, 0))).toBeLessThan(1e-6)
    expect(worst(batch(perBatch, 1), batch(anticausal, 1))).toBeLessThan(1e-6)
    expect(worst(batch(causal, 1), batch(anticausal, 1))).toBeGreaterThan(1e-2)
    const perHead = await masked([...lower, ...upper, ...upper, ...lower], [B, 2, M, M])
    for (let b = 0; b < B; b++) {
      expect(worst(batch(perHead, b), batch(causal, b))).toBeGreaterThan(1e-2)
      expect(worst(batch(perHead, b), batch(anticausal, b))).toBeGreaterThan(1e-2)
    }
    // The two masks hide different keys of each head, so that the heads' contributions add up; the bias is 0.
    const swapped = await masked([...upper, ...lower, ...lower, ...upper], [B, 2, M, M])
    expect(
      worst(
        perHead.map((value, at) => value + swapped[at]!),
        causal.map((value, at) => value + anticausal[at]!),
      ),
    ).toBeLessThan(1e-5)
  })

  it('a key mask with gaps leaves those keys out', async () => {
    const layer = new MultiHeadAttention({ modelDim: 8, heads: 2 })
    const x = normalTensor(random, [5, 8])
    const keyMask = { data: Uint8Array.of(1, 0, 1, 0, 1), shape: [5] }
    const masked = (await layer.forward(x, { runtime, keyMask })).output.data
    const kept = {
      data: Float32Array.from([0, 2, 4].flatMap((row) => [...x.data.slice(row * 8, row * 8 + 8)])),
      shape: [3, 8],
    }
    const fewer = (await layer.forward(x, { runtime, key: kept })).output.data
    expect(worst(masked, fewer)).toBeLessThan(1e-6)
    expect(worst((await layer.forward(x, { runtime })).output.data, fewer)).toBeGreaterThan(1e-3)
  })

  it('returns weights per head, averaged, or of chosen rows', async () => {
    const [B, H, M] = [2, 4, 5]
    const layer = new MultiHeadAttention({ modelDim: 8, heads: H })
    const x = normalTensor(random, [B, M, 8], 3)
    const full = (await layer.forward(x, { runtime, returnWeights: true })).weights
    expect(full.shape).toEqual([B, H, M, M])
    for (let row = 0; row < B * H * M; row++)
      expect(full.data.slice(row * M, row * M + M).reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(1, 6)
    const mean = (await layer.forward(x, { runtime, returnWeights: true, averageWeights: true })).weights
    expect(mean.shape).toEqual([B, M, M])
    const weight = (b: number, h: number, at: number) => full.data[(b * H + h) * M * M + at]!
    const expected = Array.from(
      mean.data,
      (_, at) => [0, 1, 2, 3].reduce((sum, h) => sum + weight(Math.floor(at / (M * M)), h, at % (M * M)), 0) / H,
    )
    expect(worst(mean.data, expected)).toBeLessThan(1e-6)
    expect(worst(mean.data.slice(0, M * M), mean.data.slice(M * M))).toBeGreaterThan(1e-2)
    const some = await layer.forward(x, {
      runtime,
      returnWeights: { heads: [2], rows: [4] },
      returnStatistics: true,
      returnLogSumExp: true,
    })
    expect(some.weights.shape).toEqual([B, 1, 1, M])
    for (let b = 0; b < B; b++)
      expect(
        worst(
          some.weights.data.slice(b * M, b * M + M),
          full.data.slice(((b * H + 2) * M + 4) * M, ((b * H + 2) * M + 5) * M),
        ),
      ).toBeLessThan(1e-6)
    expect(some.statistics.entropy.shape).toEqual([B, H, M])
    expect(some.logSumExp.shape).toEqual([B, H, M])
    const entropies = Array.from(some.statistics.entropy.data, (_, row) =>
      full.data.slice(row * M, row * M + M).reduce((sum, w) => sum - w * Math.log(w), 0),
    )
    expect(worst(some.statistics.entropy.data, entropies)).toBeLessThan(1e-5)
  })

  it('a block of E 512, FF 2048 has 3,152,384 parameters', () => {
    expect(new TransformerBlock({ modelDim: 512, heads: 8, feedForwardDim: 2048 }).numParameters()).toBe(3_152_384)
  })

  it('the plan is what the counting allocator sees', async () => {
    // One lane: of two, one may find nothing left to do. Both are in plan-accuracy.
    const fresh = await createRuntime({ workers: 1 })
    try {
      const layer = new TransformerEncoder({ modelDim: 64, heads: 4, feedForwardDim: 128, layers: 3 })
      const x = normalTensor(random, [1, 500, 64])
      const planned = layer.plan(fresh, x.shape)
      for (let call = 0; call < 2; call++) {
        const { report } = await layer.forward(x, { runtime: fresh })
        expect(report.memory.plannedBytes).toBe(planned.totalBytes)
        expect(report.memory.peakBytes).toBeLessThanOrEqual(planned.totalBytes)
        expect(report.memory.peakBytes).toBeGreaterThan(0.95 * planned.totalBytes)
      }
      expect(planned.explain()).toMatch(/lane arenas/)
    } finally {
      await fresh.close()
    }
  })

  it('models that take turns on one runtime stay within their plans', async () => {
    const turns = await createRuntime({ workers: 1 })
    try {
      const models = [
        [64, 3],
        [96, 1],
        [32, 5],
        [128, 2],
      ].map(([modelDim = 0, layers = 0]) => new TransformerEncoder({ modelDim, heads: 4, layers, norm: 'pre' }))
      const answers = new Map<TransformerEncoder, Float32Array>()
      for (const layer of [...models, ...models, ...models.toReversed()]) {
        const x = normalTensor(new Random(layer.modelDim), [1, 70, layer.modelDim])
        const { output, report } = await layer.forward(x, { runtime: turns })
        expect(report.memory.peakBytes).toBeLessThanOrEqual(report.memory.plannedBytes)
        expect(output.data).toEqual(answers.get(layer) ?? output.data)
        answers.set(layer, output.data)
      }
    } finally {
      await turns.close()
    }
  })

  it('weights are evicted when the budget is too small for all of them, and the answer stays', async () => {
    const layer = new TransformerEncoder({ modelDim: 128, heads: 4, feedForwardDim: 512, layers: 4 })
    const x = normalTensor(random, [64, 128])
    const expected = (await layer.forward(x, { runtime })).output.data
    const roomy = layer.plan(local, x.shape)
    const tight = await createRuntime({ workers: 1, memoryBudgetBytes: Math.floor(roomy.budgetedBytes * 0.6) })
    try {
      const { output, report } = await layer.forward(x, { runtime: tight })
      expect(output.data).toEqual(expected)
      expect(report.plan.residentLimitBytes).toBeLessThan(roomy.residentLimitBytes)
      expect(report.memory.peakBytes).toBeLessThanOrEqual(report.plan.totalBytes)
    } finally {
      await tight.close()
    }
    const hopeless = await createRuntime({ workers: 1, memoryBudgetBytes: 100_000 })
    await expect(layer.forward(x, { runtime: hopeless })).rejects.toMatchObject({ code: 'MemoryBudgetError' })
    await hopeless.close()
  })

  it('traces shapes and compares norms', async () => {
    const layer = new TransformerEncoder({ modelDim: 8, heads: 2, feedForwardDim: 16, layers: 2 })
    const traced: TraceEvent[] = []
    const norms: NormEvent[] = []
    const x = normalTensor(random, [1, 3, 8])
    await layer.forward(x, {
      runtime,
      trace: (event) => traced.push(event),
      monitorNorms: (event) => norms.push(event),
    })
    expect(
      traced
        .filter(({ layer: name }) => name.startsWith('layers.0'))
        .map(({ step, shape }) => `${step} ${shape.join('×')}`),
    ).toEqual([
      'query 1×2×3×4',
      'key 1×2×3×4',
      'value 1×2×3×4',
      'context 1×2×3×4',
      'attention output 1×3×8',
      'norm 1×3×8',
      'hidden 1×3×16',
      'linear 1×3×8',
      'norm 1×3×8',
    ])
    expect(norms.map(({ layer: name, warning }) => [name, warning])).toEqual([
      ['layers.0', false],
      ['layers.1', false],
    ])
    layer.blocks[1]!.norm2.weight.data.fill(100)
    layer.blocks[1]!.norm2.weight.touch()
    norms.length = 0
    await layer.forward(x, { runtime, monitorNorms: (event) => norms.push(event) })
    expect(norms[1]).toMatchObject({ layer: 'layers.1', warning: true })
    expect(norms[1]!.ratio).toBeGreaterThan(10)
  })
})
