import { OptionError, tensor, type Tensor } from 'heddle'
import { CausalLanguageModel, MultiHeadAttention, TransformerEncoder, type LanguageModelForward } from 'heddle/nn'
import { describe, expect, it } from 'vitest'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { fingerprint, normalTensor } from '../support/tensors.ts'

const pools = {
  'the calling thread': useRuntime({ workers: 0 }),
  'two workers': useRuntime({ workers: 2 }),
  'two workers without shared memory': useRuntime({ workers: 2, sharedMemory: 'never' }),
}
const runtime = pools['the calling thread']
const [E, H, B] = [16, 4, 3]
const random = new Random(13)
const layer = new MultiHeadAttention({ modelDim: E, heads: H, keyValueHeads: 2, rotary: true, seed: 6 })
const held = [2, 7, 0]

const sequence = ({ data, shape: [, rows = 0] }: Tensor, b: number, count = rows): Tensor => ({
  data: data.slice(b * rows * E, (b * rows + count) * E),
  shape: [1, count, E],
})

describe.each(Object.entries(pools))('a cache whose sequences have different lengths, on %s', (_where, pool) => {
  const before = normalTensor(random, [B, 7, E])
  const next = normalTensor(random, [B, 5, E])

  it.each([
    ['causal', { causal: true }],
    ['every row', {}],
    ['a window', { causal: true, window: { before: 3 } }],
    ['key lengths', { keyLengths: Int32Array.of(4, 3, 2) }],
  ])('each goes on as if it were alone: %s', async (_name, options) => {
    for (const chunk of [{}, { chunkSize: 4 }]) {
      const cache = layer.createCache(B, 12)
      await layer.forward(before, { runtime: pool(), causal: true, cache })
      cache.truncate(held)
      expect([...cache.lengths]).toEqual(held)
      expect(cache.length).toBe(7)
      const { output } = await layer.forward(next, { runtime: pool(), ...options, ...chunk, cache })
      expect([...cache.lengths]).toEqual([7, 12, 5])
      for (let b = 0; b < B; b++) {
        const alone = layer.createCache(1, 12)
        if (held[b]! > 0)
          await layer.forward(sequence(before, b, held[b]), { runtime: pool(), causal: true, cache: alone })
        const own = 'keyLengths' in options ? { keyLengths: options.keyLengths.slice(b, b + 1) } : options
        const expected = await layer.forward(sequence(next, b), { runtime: pool(), ...own, cache: alone })
        expect(fingerprint(output.data.slice(b * 5 * E, (b + 1) * 5 * E)), `sequence ${b}`).toBe(
          fingerprint(expected.output.data),
        )
      }
    }
  })
})

describe('lengths', () => {
  const model = new CausalLanguageModel({ vocabulary: 11, modelDim: E, heads: H, layers: 2, seed: 3 })
  const tokens = tensor(
    Int32Array.from({ length: B * 4 }, (_, index) => (index * 5) % 11),
    [B, 4],
  )
  const forward = (options: LanguageModelForward) => model.forward(tokens, { runtime: runtime(), ...options })

  it('say how many tokens of each sequence the caches keep', async () => {
    const caches = model.createCaches(B, 10)
    const first = await forward({ caches, lengths: Int32Array.of(4, 0, 2) })
    expect(caches.map(({ lengths }) => [...lengths])).toEqual([
      [4, 0, 2],
      [4, 0, 2],
    ])
    const second = await forward({ caches })
    expect(caches.map(({ lengths }) => [...lengths])).toEqual([
      [8, 4, 6],
      [8, 4, 6],
    ])
    const rows = ({ output }: typeof first, b: number, count: number): string =>
      fingerprint(output.data.slice(b * 44, b * 44 + count * 11))
    for (const [b, length] of [4, 0, 2].entries()) {
      const own = [...tokens.data.slice(b * 4, b * 4 + 4)]
      const alone = model.createCaches(1, 10)
      if (length > 0) {
        const { output } = await model.forward(tensor(Int32Array.from(own.slice(0, length)), [1, length]), {
          runtime: runtime(),
          caches: alone,
        })
        expect(fingerprint(output.data)).toBe(rows(first, b, length))
      }
      const { output } = await model.forward(tensor(Int32Array.from(own), [1, 4]), {
        runtime: runtime(),
        caches: alone,
      })
      expect(fingerprint(output.data)).toBe(rows(second, b, 4))
    }
  })

  it('are refused where they do not fit', async () => {
    const caches = model.createCaches(B, 10)
    await expect(forward({ lengths: Int32Array.of(4, 4, 4) })).rejects.toThrow(/expected caches with it, got none/)
    await expect(forward({ caches, lengths: Int32Array.of(4, 4) })).rejects.toThrow(
      /an Int32Array of 3, one entry per sequence/,
    )
    await expect(forward({ caches, lengths: Int32Array.of(4, 5, 4) })).rejects.toThrow(
      /lengths 1: expected an integer from 0 to 4, got number 5/,
    )
    await expect(forward({ caches, lengths: [1, 2, 3] as never })).rejects.toThrow(OptionError)
    expect(caches[0]!.length).toBe(0)
  })
})

describe('what does not fit a cache with different lengths', () => {
  it('is refused before anything is computed', async () => {
    const cache = layer.createCache(B, 12)
    await layer.forward(normalTensor(random, [B, 7, E]), { runtime: runtime(), causal: true, cache })
    expect(() => cache.truncate([1, 2])).toThrow(/expected 3 lengths, one per sequence, got 2/)
    expect(() => cache.truncate([1, 8, 2])).toThrow(/length 1: expected an integer from 0 to 7/)
    expect([...cache.lengths]).toEqual([7, 7, 7])
    cache.truncate(held)
    cache.truncate(3)
    expect([...cache.lengths]).toEqual([2, 3, 0])
    await expect(
      layer.forward(normalTensor(random, [1, 1, E]), { runtime: runtime(), causal: true, cache }),
    ).rejects.toThrow(/cache for batch 1, 2 heads of 4, got one for batch 3/)
    await expect(
      layer.forward(normalTensor(random, [B, 10, E]), { runtime: runtime(), causal: true, cache }),
    ).rejects.toThrow(/room for 10 rows in the cache, got 3 of 12 taken/)
    await expect(
      layer.forward(normalTensor(random, [B, 1, E]), { runtime: runtime(), keyLengths: new Int32Array(2), cache }),
    ).rejects.toThrow(/keyLengths/)
    expect([...cache.lengths]).toEqual([2, 3, 0])
  })

  it('caches of one model must agree', async () => {
    const stack = new TransformerEncoder({ modelDim: E, heads: H, layers: 2 })
    const caches = stack.createCaches(2, 5)
    await stack.forward(normalTensor(random, [2, 3, E]), { runtime: runtime(), causal: true, caches })
    caches[1]!.truncate([3, 1])
    await expect(
      stack.forward(normalTensor(random, [2, 1, E]), { runtime: runtime(), causal: true, caches }),
    ).rejects.toThrow(/the same number of rows, got 3 and \[3, 1\]/)
  })
})
