import type { Runtime } from 'heddle'
import { analyzeAttention, analyzeModel, type ModelAnalysis } from 'heddle/analysis'
import {
  CausalLanguageModel,
  Linear,
  Module,
  MultiHeadAttention,
  TransformerEncoder,
  activate,
  type Graph,
  type Value,
} from 'heddle/nn'
import { describe, expect, test } from 'vitest'
import { Random } from '../support/random.ts'
import { allLanes, useRuntime, withRuntime } from '../support/runtimes.ts'
import { integerTensor, normalTensor } from '../support/tensors.ts'

const runtime = useRuntime({ workers: 2 })
const [B, N, E, H] = [2, 40, 32, 4]
const tokens = integerTensor(new Random(3), [B, N], 11)
const language = (): CausalLanguageModel =>
  new CausalLanguageModel({ vocabulary: 12, modelDim: E, heads: H, keyValueHeads: 2, layers: 3, seed: 4 })

/** Everything but times. */
function timeless(analysis: ModelAnalysis): unknown {
  return JSON.parse(JSON.stringify(analysis, (key, value: unknown) => (key.endsWith('Ms') ? undefined : value)))
}

describe('analyzeModel', () => {
  test('heatmaps are the weights that each layer returns, and rollout is their product', async () => {
    const encoder = new TransformerEncoder({ modelDim: E, heads: H, layers: 2, norm: 'post', seed: 5 })
    const x = normalTensor(new Random(6), [B, N, E])
    const keyMask = {
      data: Uint8Array.from({ length: B * N }, (_, at) => (at % N < 35 || at < N ? 1 : 0)),
      shape: [B, N],
    }
    const options = { runtime: runtime(), keyMask }
    const found = await analyzeModel(encoder, x, {
      runtime: runtime(),
      forward: { keyMask },
      sequence: 1,
      rollout: [7, 34],
    })
    const second = (await encoder.blocks[0]!.forward(x, options)).output
    let product = Array.from({ length: N }, (_, i) => Float64Array.from({ length: N }, (__, j) => (i === j ? 1 : 0)))
    for (const [index, rows] of [x, second].entries()) {
      const { weights } = await encoder.blocks[index]!.selfAttention.forward(rows, { ...options, returnWeights: true })
      const at = (h: number, i: number, j: number): number => weights!.data[((H + h) * N + i) * N + j]!
      expect(found.layers[index]).toMatchObject({ index, layer: `layers.${index}` })
      for (let h = 0; h < H; h++)
        for (let i = 0; i < N; i++)
          for (let j = 0; j < N; j++)
            expect(found.layers[index]!.heads[h]!.heatmap![i]![j]!).toBeCloseTo(at(h, i, j), 6)
      const mixed = Array.from({ length: N }, (_, i) =>
        Float64Array.from(
          { length: N },
          (__, j) =>
            (Array.from({ length: H }, (___, h) => at(h, i, j)).reduce((a, b) => a + b, 0) / H + (i === j ? 1 : 0)) / 2,
        ),
      )
      product = mixed.map((row) =>
        Float64Array.from({ length: N }, (_, j) => row.reduce((sum, weight, k) => sum + weight * product[k]![j]!, 0)),
      )
    }
    for (const { row, shares } of found.rollout!)
      shares.buckets.forEach((share, j) => expect(share, `row ${row}, key ${j}`).toBeCloseTo(product[row]![j]!, 6))
    expect(found.rollout!.map(({ row }) => row)).toEqual([7, 34])
  })

  test('a layer of one’s own is analyzed like any other', async () => {
    class Own extends Module {
      readonly inputDim = E
      readonly attention = this.addModule('look', new MultiHeadAttention({ modelDim: E, heads: H, seed: 1 }))
      readonly output = this.addModule('output', new Linear(E, 3, { seed: 2 }))
      override build(graph: Graph, input: Value): Value {
        const seen = graph.within('look', () =>
          this.attention.build(graph, activate(graph, input, 'gelu'), { causal: true }),
        )
        return this.output.build(graph, seen)
      }
    }
    const { layers, rollout } = await analyzeModel(new Own(), normalTensor(new Random(8), [N, E]), {
      runtime: runtime(),
      tokens: { data: tokens.data.slice(0, N), shape: [N] },
    })
    expect(layers.map(({ layer, heads }) => [layer, heads.length])).toEqual([['Own.look', H]])
    expect(layers[0]!.heads[0]!.scores.induction!.rows).toBeGreaterThan(0)
    expect(rollout).toHaveLength(1)
  })

  test('has the same bits for any pool, without shared memory too, and as plain data', async () => {
    const analyze = (own: Runtime): Promise<ModelAnalysis> => analyzeModel(language(), tokens, { runtime: own })
    const reference = timeless(await analyze(runtime()))
    for (const options of [
      { workers: 0 },
      { workers: 1 },
      { workers: 3 },
      { workers: 2, sharedMemory: 'never' },
    ] as const) {
      await withRuntime(options, async (own) => {
        await allLanes(own)
        expect(timeless(await analyze(own))).toEqual(reference)
      })
    }
    expect(JSON.parse(JSON.stringify(reference))).toEqual(reference)
  })

  test('analyzes in evaluation mode, and leaves the mode as it was', async () => {
    const dropping = new CausalLanguageModel({
      vocabulary: 12,
      modelDim: E,
      heads: H,
      keyValueHeads: 2,
      layers: 3,
      seed: 4,
      dropout: 0.5,
    }).train()
    const found = timeless(await analyzeModel(dropping, tokens, { runtime: runtime() }))
    expect(dropping.training).toBe(true)
    expect(found).toEqual(timeless(await analyzeModel(language(), tokens, { runtime: runtime() })))
  })

  test('counts its calls, and stops at an abort', async () => {
    const heard: number[] = []
    let total = 0
    await analyzeModel(language(), tokens, {
      runtime: runtime(),
      onProgress: (progress) => ((total = progress.total), heard.push(progress.done)),
    })
    expect(heard).toEqual(Array.from({ length: total + 1 }, (_, at) => at))
    const controller = new AbortController()
    const reason = new Error('enough')
    const stopped = analyzeModel(language(), tokens, {
      runtime: runtime(),
      signal: controller.signal,
      onProgress: ({ done }) => done === 5 && controller.abort(reason),
    })
    await expect(stopped).rejects.toBe(reason)
  })
})

describe('bad input', () => {
  const query = normalTensor(new Random(1), [1, 2, 8, 4])
  test.each([
    ['an unknown option', { nearby: 3 }, 'OptionError', 'near'],
    ['a sequence beyond the batch', { sequence: 2 }, 'OptionError', 'from 0 to 1, got number 2'],
    [
      'a relation beyond the keys',
      { relations: { verb: [[0, 40]] } },
      'OptionError',
      'relations.verb[0]: expected a key from 0 to 39, got 40',
    ],
    [
      'a relation with half a position',
      {
        relations: {
          verb: [
            [1, 0],
            [0.5, 1],
          ],
        },
      },
      'OptionError',
      'verb[1]: expected a query from 0 to 39, got 0.5',
    ],
    ['a relation without pairs', { relations: { verb: [] } }, 'OptionError', 'a list of pairs'],
    ['labels that are too few', { labels: ['a'] }, 'OptionError', '40 strings'],
    ['a rollout of a row that is none', { rollout: [40] }, 'OptionError', 'from 0 to 39'],
    [
      'a query mask of another shape',
      { queryMask: { data: new Uint8Array(N), shape: [N] } },
      'ShapeError',
      `expected shape [${B}, ${N}], got [${N}]`,
    ],
    ['a factor below 1', { factor: 0.5 }, 'OptionError', '≥ 1'],
    ['a share of 2', { share: 2 }, 'OptionError', 'from 0 to 1'],
    ['a heatmap of 1,000', { heatmapSize: 1000 }, 'OptionError', 'from 0 to 512'],
    ['a runtime that is none', { runtime: {} }, 'OptionError', 'createRuntime'],
    ['an option that forward does not take', { forward: { mask: 1 } }, 'OptionError', 'mask'],
  ])('%s', async (_, options, code, message) => {
    await expect(analyzeModel(language(), tokens, { runtime: runtime(), ...options } as object)).rejects.toMatchObject({
      code,
      message: expect.stringContaining(message) as string,
    })
  })

  test('inputs that do not fit', async () => {
    const own = { runtime: runtime() }
    const shape = [N]
    await expect(analyzeModel(language(), { data: new Int32Array(N).fill(12), shape }, own)).rejects.toMatchObject({
      code: 'OptionError',
      message: expect.stringContaining('12') as string,
    })
    await expect(analyzeModel(language(), { data: new Int32Array(1), shape: [1] }, own)).rejects.toMatchObject({
      code: 'OptionError',
      message: expect.stringContaining('two positions or more, got 1') as string,
    })
    await expect(analyzeModel(new Linear(4, 4), normalTensor(new Random(1), [5, 4]), own)).rejects.toMatchObject({
      code: 'OptionError',
      message: expect.stringContaining('a model with attention, got Linear') as string,
    })
    await expect(analyzeModel({} as Linear, tokens, own)).rejects.toMatchObject({
      code: 'OptionError',
      message: expect.stringContaining('a Module') as string,
    })
    await expect(
      analyzeAttention({ query, key: query, tokens: { data: new Int32Array(7), shape: [7] } }, own),
    ).rejects.toMatchObject({
      code: 'ShapeError',
    })
    await expect(
      analyzeAttention({ query, key: normalTensor(new Random(1), [1, 2, 9, 4]), tokens }, own),
    ).rejects.toMatchObject({
      code: 'OptionError',
      message: expect.stringContaining('self-attention') as string,
    })
    await expect(
      analyzeAttention({ query, key: query }, { ...own, attention: { dropout: 1 } as object }),
    ).rejects.toMatchObject({
      code: 'OptionError',
    })
  })

  test('NaN names the layer and the head', async () => {
    const model = language()
    model.encoder.blocks[1]!.selfAttention.inProjWeight.data[8 * E] = NaN
    await expect(analyzeModel(model, tokens, { runtime: runtime() })).rejects.toMatchObject({
      code: 'NumericError',
      message: expect.stringMatching(/layer [12] .*NaN in head/) as string,
    })
  })
})
