import { OptionError, ShapeError, tensor, type Tensor } from 'heddle'
import type { KeyValueCache } from 'heddle/nn'
import { CausalLanguageModel, MultiHeadAttention, TransformerBlock } from 'heddle/nn'
import { describe, expect, it } from 'vitest'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { normalTensor } from '../support/tensors.ts'
import { layerReference } from './layer-reference.ts'
import { worst } from './worst.ts'

const runtime = useRuntime({ workers: 2 })
const transfer = useRuntime({ workers: 2, sharedMemory: 'never' })
const random = new Random(7)
const [E, H, Hkv] = [16, 4, 2]
const layer = new MultiHeadAttention({ modelDim: E, heads: H, keyValueHeads: Hkv, seed: 6 })
const newCache = (batch: number, capacity: number) => layer.createCache(batch, capacity)

/** Rows [from, from + rows) of one sequence. */
const part = ({ data }: Tensor, from: number, rows: number): Tensor => ({
  data: data.slice(from * E, (from + rows) * E),
  shape: [rows, E],
})

describe('attention with a cache', () => {
  const x = normalTensor(random, [9, E])
  const whole = { data: x.data, shape: [1, 9, E] }

  // Whole models with a cache are held against PyTorch in pytorch-models, rotary positions in rotary.
  it.each([
    ['causal', { causal: true }],
    ['causal with a window', { causal: true, window: { before: 2 } }],
  ] as const)('gives the rows of a full pass, %s, over shared memory and by transfer', async (_name, options) => {
    const expected = layerReference(layer, whole, whole, options)
    for (const [pool, chunks] of [
      [runtime(), {}],
      [runtime(), { chunkSize: 2 }],
      [transfer(), { chunkSize: 2 }],
    ] as const) {
      const cache = newCache(1, 9)
      const rows: number[] = []
      for (const [from, count] of [
        [0, 4],
        [4, 1],
        [5, 3],
        [8, 1],
      ] as const) {
        rows.push(
          ...(await layer.forward(part(x, from, count), { runtime: pool, ...options, ...chunks, cache })).output.data,
        )
        expect(cache.length).toBe(from + count)
      }
      expect(worst(rows, expected)).toBeLessThan(2e-6)
    }
  })

  it.each([
    ['attention', layer],
    ['a block', new TransformerBlock({ modelDim: E, heads: H, seed: 3 })],
  ] as const)('is causal by default: %s', async (_name, module) => {
    const run = async (options: { causal?: boolean }, cached: boolean): Promise<number[]> => {
      const { output } = await module.forward(whole, {
        ...options,
        runtime: runtime(),
        ...(cached ? { cache: module.createCache(1, 9) } : {}),
      })
      return [...output.data]
    }
    expect(worst(await run({}, true), Float64Array.from(await run({ causal: true }, false)))).toBeLessThan(2e-6)
    expect(worst(await run({ causal: false }, true), Float64Array.from(await run({}, false)))).toBeLessThan(2e-6)
  })

  it('sees every row that the cache holds where it is told not to be causal', async () => {
    const cache = newCache(1, 9)
    await layer.forward(part(x, 0, 4), { runtime: runtime(), causal: false, cache })
    const { output } = await layer.forward(part(x, 4, 5), { runtime: runtime(), causal: false, cache })
    expect(worst(output.data, layerReference(layer, whole, whole, {}).slice(4 * E))).toBeLessThan(2e-6)
  })

  it('goes on from a shorter length after truncate', async () => {
    const cache = newCache(1, 9)
    await layer.forward(part(x, 0, 3), { runtime: runtime(), causal: true, cache })
    await layer.forward(normalTensor(random, [5, E]), { runtime: runtime(), causal: true, cache })
    cache.truncate(3)
    expect(cache.length).toBe(3)
    const { output } = await layer.forward(part(x, 3, 6), { runtime: runtime(), causal: true, cache })
    expect(worst(output.data, layerReference(layer, whole, whole, { causal: true }).slice(3 * E))).toBeLessThan(2e-6)
    cache.truncate(0)
    expect(cache.length).toBe(0)
  })

  it('truncates to what it holds, not to what it has room for', async () => {
    const cache = newCache(1, 9)
    await layer.forward(part(x, 0, 3), { runtime: runtime(), causal: true, cache })
    expect(() => cache.truncate(4)).toThrow(OptionError)
    expect(() => cache.truncate(4)).toThrow(/from 0 to 3, got number 4/)
    expect(() => cache.truncate(-1)).toThrow(OptionError)
    expect(cache.length).toBe(3)
  })

  it("refuses rows that it has no room for, and another layer's sizes", async () => {
    const cache = newCache(1, 9)
    await layer.forward(x, { runtime: runtime(), causal: true, cache })
    await expect(layer.forward(part(x, 0, 1), { runtime: runtime(), cache })).rejects.toThrow(
      /room for 1 rows in the cache, got 9 of 9 taken/,
    )
    await expect(layer.forward(part(x, 0, 1), { runtime: runtime(), cache: newCache(2, 9) })).rejects.toThrow(
      /cache for batch 1, 2 heads of 4, got one for batch 2/,
    )
    const other = new TransformerBlock({ modelDim: E, heads: H }).createCache(1, 9)
    await expect(layer.forward(part(x, 0, 1), { runtime: runtime(), cache: other })).rejects.toThrow(OptionError)
    expect(cache.length).toBe(9)
  })
})

describe('a causal language model', () => {
  const model = new CausalLanguageModel({
    vocabulary: 23,
    modelDim: E,
    heads: H,
    keyValueHeads: Hkv,
    feedForwardDim: 32,
    layers: 2,
    seed: 9,
  })
  const prompt = tensor(
    Int32Array.from({ length: 10 }, () => random.integer(0, 22)),
    [2, 5],
  )

  it('changes nothing before a token that changes, and everything from it on', async () => {
    for (let position = 0; position < 5; position++) {
      const changed = tensor(
        Int32Array.from(prompt.data, (token, index) => (index === position ? (token + 1) % 23 : token)),
        [2, 5],
      )
      const before = (await model.forward(prompt, { runtime: runtime() })).output.data
      const after = (await model.forward(changed, { runtime: runtime() })).output.data
      for (let row = 0; row < 10; row++) {
        const [a, b] = [after, before].map((data) => data.slice(row * 23, (row + 1) * 23))
        if (row >= position && row < 5) expect(a, `token ${position}, row ${row}`).not.toEqual(b)
        else expect(a, `token ${position}, row ${row}`).toEqual(b)
      }
    }
  })

  it("decodes with a sampler of the caller's: forward with caches gives the logits of a full pass", async () => {
    for (const pool of [runtime(), transfer()]) {
      const caches = model.createCaches(1, 12)
      const tokens = [...prompt.data.slice(0, 5)]
      let next = tokens
      while (tokens.length < 12) {
        const { output } = await model.forward(tensor(Int32Array.from(next), [1, next.length]), {
          runtime: pool,
          caches,
        })
        expect(output.shape).toEqual([1, next.length, 23])
        const full = (await model.forward(tensor(Int32Array.from(tokens), [tokens.length]), { runtime: pool })).output
        const logits = output.data.subarray(-23)
        expect(worst(logits, full.data.subarray(-23))).toBeLessThan(2e-6)
        next = [logits.reduce((best, logit, token) => (logit > logits[best]! ? token : best), 0)]
        tokens.push(...next)
      }
      expect(caches.map(({ length }) => length)).toEqual([11, 11])
      expect(tokens).toEqual([
        ...(await model.generate(tensor(prompt.data.slice(0, 5), [5]), { runtime: pool, maxNewTokens: 7 })).data,
      ])
    }
  })

  it('takes back what a sampler rejects: truncated caches give other tokens the same logits', async () => {
    const caches = model.createCaches(2, 8)
    const step = async (data: number[]) =>
      (await model.forward(tensor(Int32Array.from(data), [2, data.length / 2]), { runtime: runtime(), caches })).output
        .data
    await step([...prompt.data])
    const first = await step([4, 9])
    await step([1, 2])
    for (const cache of caches) cache.truncate(5)
    expect(await step([4, 9])).toEqual(first)
  })

  it('refuses caches that do not belong together', async () => {
    const caches = model.createCaches(1, 9)
    const one = tensor(Int32Array.of(1), [1, 1])
    const call = (list: readonly KeyValueCache[]) => model.forward(one, { runtime: runtime(), caches: list })
    await call(caches)
    await expect(call([caches[0]!])).rejects.toThrow(/2 caches, one per block/)
    await expect(call([caches[0]!, {} as KeyValueCache])).rejects.toThrow(
      /CausalLanguageModel: cache: expected caches made by createCache or createCaches, got /,
    )
    await expect(call([caches[0]!, caches[0]!])).rejects.toThrow(/a cache of its own per block, got one of them twice/)
    caches[1]!.truncate(0)
    await expect(call(caches)).rejects.toThrow(
      'CausalLanguageModel: cache: expected caches that hold the same number of rows, got 1 and 0',
    )
    await expect(call(caches)).rejects.toThrow(OptionError)
    expect(caches.map(({ length }) => length)).toEqual([1, 0])
    caches[0]!.truncate(0)
    await call(caches)
    expect(caches.map(({ length }) => length)).toEqual([1, 1])
  })

  it('continues each sequence of a batch as if it were alone', async () => {
    const together = await model.generate(prompt, { runtime: runtime(), maxNewTokens: 6 })
    expect(together.shape).toEqual([2, 11])
    for (let b = 0; b < 2; b++) {
      const alone = await model.generate(tensor(prompt.data.slice(b * 5, b * 5 + 5), [5]), {
        runtime: runtime(),
        maxNewTokens: 6,
      })
      expect(alone.shape).toEqual([11])
      expect([...alone.data]).toEqual([...together.data.slice(b * 11, b * 11 + 11)])
    }
  })

  it('refuses what it cannot do', async () => {
    const pool = { runtime: runtime() }
    await expect(model.generate(prompt, { ...pool, maxNewTokens: 3, temperature: 1 })).rejects.toThrow(/seed/)
    await expect(model.generate(prompt, { ...pool, maxNewTokens: 0 })).rejects.toThrow(OptionError)
    await expect(model.generate(tensor(new Int32Array(0), [1, 0]), { ...pool, maxNewTokens: 1 })).rejects.toThrow(
      ShapeError,
    )
    const controller = new AbortController()
    controller.abort(new Error('enough'))
    await expect(model.generate(prompt, { ...pool, maxNewTokens: 3, signal: controller.signal })).rejects.toThrow(
      'enough',
    )
  })
})
