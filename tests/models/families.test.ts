import { readFileSync } from 'node:fs'
import { loadModel, type LoadedModel, type TransformerModel } from 'heddle/models'
import { readSafetensors } from 'heddle/nn'
import { describe, expect, test } from 'vitest'
import { useRuntime } from '../support/runtimes.ts'
import { worst } from '../nn/worst.ts'
import { expectedCases, folderOf, hubFolders, tokensOf } from './support/hub-folders.ts'

/**
 * Each family on random weights under the hub's names, against float64 code in PyTorch that was written from the
 * papers.
 */

const setups = {
  'calling thread': { pool: { workers: 0 }, chunks: {} },
  'two workers': { pool: { workers: 2 }, chunks: { chunkSize: 8 } },
}

/** Float32 through up to four blocks; values are up to about 5. */
const TOLERANCE = 1e-5

describe.each(Object.entries(setups))('%s', (_name, { pool, chunks }) => {
  const runtime = useRuntime(pool)

  test.each(hubFolders)('%s: hidden rows and logits', async (name) => {
    const model = await loadModel(folderOf(name))
    for (const { ids, tokenTypes, lastHiddenState, logits } of expectedCases(name)) {
      const options = {
        runtime: runtime(),
        ...chunks,
        ...(tokenTypes === undefined ? {} : { tokenTypes: tokensOf(tokenTypes) }),
      }
      const { output, report } = await model.transformer.forward(tokensOf(ids), options)
      expect(output.shape).toEqual([1, ids.length, model.modelDim])
      expect(worst(output.data, lastHiddenState.flat())).toBeLessThan(TOLERANCE)
      expect(report.memory.peakBytes).toBeLessThanOrEqual(report.plan.totalBytes)
      if (logits === undefined) expect(model.languageModel).toBeNull()
      else
        expect(
          worst(
            (await model.languageModel!.forward(tokensOf(ids), { runtime: runtime(), ...chunks })).output.data,
            logits.flat(),
          ),
        ).toBeLessThan(TOLERANCE)
    }
  })

  test.each(hubFolders)('%s: gradients', async (name) => {
    const model = await loadModel(folderOf(name))
    const { ids, tokenTypes } = expectedCases(name).at(-1)!
    const { dHidden, ...expected } = (
      await readSafetensors(Uint8Array.from(readFileSync(`${folderOf(name)}/gradients.safetensors`)))
    ).tensors
    const options = {
      runtime: runtime(),
      ...chunks,
      ...(tokenTypes === undefined ? {} : { tokenTypes: tokensOf(tokenTypes) }),
    }
    const dOutput = { data: dHidden!.data as Float32Array, shape: [1, ...dHidden!.shape] }
    const { gradients } = await model.transformer.backward(tokensOf(ids), dOutput, options)
    const names = Object.keys(expected)
    expect(names.length).toBeGreaterThan(8)
    for (const each of names) {
      const own = [...gradients.keys()].find((parameter) => parameter === each || each === `model.${parameter}`)!
      const { data, shape } = gradients.get(own)!
      const transposed = /gpt2/.test(name) && /\.(c_attn|c_proj|c_fc)\.weight$/.test(each)
      expect(shape, each).toEqual(transposed ? expected[each]!.shape.toReversed() : expected[each]!.shape)
      const largest = Math.max(1, ...expected[each]!.data.map(Math.abs))
      // Sums over 23 rows, in another order than float64's.
      expect(
        worst(
          data,
          transposed ? transpose(expected[each]!.data as Float32Array, shape) : (expected[each]!.data as Float32Array),
        ) / largest,
        each,
      ).toBeLessThan(3e-5)
    }
  })
})

/** [in, out] as [out, in]. */
function transpose(data: Float32Array, [out = 0, inSize = 0]: readonly number[]): Float32Array {
  return Float32Array.from({ length: out * inSize }, (_, at) => data[(at % inSize) * out + Math.floor(at / inSize)]!)
}

describe('decoders, step by step', () => {
  const runtime = useRuntime({ workers: 0 })
  const decoders = hubFolders.filter((name) => expectedCases(name)[0]!.logits !== undefined)

  // Dynamic angles depend on the whole length: what a cache holds was turned by those of a shorter text.
  test.each(decoders.filter((name) => name !== 'qwen3'))('%s: with caches as without', async (name) => {
    const { transformer } = await loadModel(folderOf(name))
    const { ids, lastHiddenState } = expectedCases(name).at(-1)!
    const caches = transformer.createCaches(1, ids.length)
    let from = 0
    for (const rows of [9, 1, 1, 12]) {
      const { output } = await transformer.forward(tokensOf(ids.slice(from, from + rows)), {
        caches,
        runtime: runtime(),
      })
      expect(worst(output.data, lastHiddenState.slice(from, from + rows).flat())).toBeLessThan(TOLERANCE)
      from += rows
    }
  })

  test.each(decoders)('%s: generate takes the likeliest token of the logits', async (name) => {
    const model = await loadModel(folderOf(name))
    const { ids, logits } = expectedCases(name)[1]!
    const { data } = await model.generate(tokensOf(ids), { maxNewTokens: 1, runtime: runtime() })
    const last = logits!.at(-1)!
    expect(data.at(-1)).toBe(last.indexOf(Math.max(...last)))
  })
})

describe('packed texts', () => {
  const runtime = useRuntime({ workers: 2 })

  test.each(hubFolders)('%s: rows are those of each text alone', async (name) => {
    const { transformer } = await loadModel(folderOf(name))
    // Dynamic angles are those of the longest text.
    const cases = expectedCases(name).filter(({ ids }) => ids.length <= 12 || !isDynamic(transformer))
    const whole = cases.flatMap(({ ids }) => ids)
    const each = (value: (index: number, token: number) => number) =>
      tokensOf(cases.flatMap(({ ids }, index) => ids.map((_, token) => value(index, token))))
    const options = {
      segments: each((index) => index),
      positions: each((_, token) => token),
      tokenTypes: each((index, token) => cases[index]!.tokenTypes?.[token] ?? 0),
    }
    const { tokenTypes, ...withoutTypes } = options
    const { output } = await transformer.forward(tokensOf(whole), {
      ...withoutTypes,
      ...(cases[0]!.tokenTypes === undefined ? {} : { tokenTypes }),
      runtime: runtime(),
    })
    expect(
      worst(
        output.data,
        cases.flatMap(({ lastHiddenState }) => lastHiddenState.flat()),
      ),
    ).toBeLessThan(TOLERANCE)
  })

  const isDynamic = ({ architecture }: TransformerModel): boolean =>
    architecture.blocks.some(({ attention }) => attention.rotary?.scaling?.kind === 'dynamic')
})

describe('what was read', () => {
  const loaded = (name: string): Promise<LoadedModel> => loadModel(folderOf(name))

  test('names of the hub, transposed matrices, prefixes, shards, types and tensors without use', async () => {
    expect((await loaded('gpt2')).transformer.namedParameters().get('h.0.attn.c_attn.weight')!.shape).toEqual([48, 16])
    expect((await loaded('gpt2')).weights.unused).toEqual(['h.0.attn.bias'])
    expect((await loaded('roberta')).weights).toEqual({
      files: ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'],
      types: ['F16'],
      unused: [],
    })
    expect((await loaded('llama')).weights.types).toEqual(['BF16'])
    expect((await loaded('modernbert')).weights.unused).toEqual(['head.dense.weight', 'decoder.bias'])
    expect((await loaded('bert')).maxLength).toBe(40)
    expect((await loaded('roberta')).maxLength).toBe(38)
    expect((await loaded('qwen2')).maxLength).toBe(64)
  })
})
