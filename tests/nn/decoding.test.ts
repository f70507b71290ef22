import { createRuntime, OptionError, ShapeError, tensor, type Runtime } from 'heddle'
import { CausalLanguageModel, MultiHeadAttention, TransformerBlock } from 'heddle/nn'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Random } from '../support/random.ts'
import { normalTensor } from '../support/tensors.ts'
import { worst } from './worst.ts'

let runtime: Runtime
beforeAll(async () => {
  runtime = await createRuntime({ workers: 2 })
})
afterAll(() => runtime.close())

describe('decoding', () => {
  const random = new Random(7)
  const model = new CausalLanguageModel({ vocabulary: 23, modelDim: 16, heads: 4, keyValueHeads: 2, feedForwardDim: 32, layers: 2, seed: 9 })
  const prompt = tensor(Int32Array.from({ length: 10 }, () => random.integer(0, 22)), [2, 5])

  it.each(['rotary', 'sinusoidal', 'learned'] as const)('step by step with a cache equals one full pass (%s positions)', async (positions) => {
    const maxLength = positions === 'learned' ? { maxLength: 12 } : {}
    const stepwise = new CausalLanguageModel({ vocabulary: 23, modelDim: 16, heads: 4, feedForwardDim: 32, layers: 2, positions, ...maxLength, seed: 2 })
    const tokens = await stepwise.generate(prompt, { runtime, maxNewTokens: 7 })
    expect(tokens.shape).toEqual([2, 12])
    const { output } = await stepwise.forward(tokens, { runtime })
    for (let b = 0; b < 2; b++) {
      for (let position = 5; position < 12; position++) {
        const row = output.data.slice((b * 12 + position - 1) * 23, (b * 12 + position) * 23)
        const chosen = tokens.data[b * 12 + position]!
        // The greedy choice of the full pass, but for logits that differ by rounding alone.
        expect(Math.max(...row) - row[chosen]!).toBeLessThan(1e-5)
      }
    }
  })

  it('the cache gives the same rows as a full forward pass', async () => {
    const layer = new MultiHeadAttention({ modelDim: 16, heads: 4, keyValueHeads: 2, rotary: true })
    const x = normalTensor(random, [9, 16])
    const full = (await layer.forward(x, { runtime, causal: true })).output.data
    const cache = new TransformerBlock({ modelDim: 16, heads: 4, keyValueHeads: 2 }).createCache(1, 9)
    const rows: number[] = []
    for (const [from, to] of [[0, 4], [4, 5], [5, 8], [8, 9]] as const) {
      const part = { data: x.data.slice(from * 16, to * 16), shape: [to - from, 16] }
      rows.push(...(await layer.forward(part, { runtime, causal: true, cache })).output.data)
    }
    expect(worst(rows, full)).toBeLessThan(2e-6)
    expect(cache.length).toBe(9)
    await expect(layer.forward({ data: x.data.slice(0, 16), shape: [1, 16] }, { runtime, cache })).rejects.toThrow(/room for 1 rows/)
  })

  it('draws by seed, and stops at the stop token', async () => {
    const draw = (seed: number) => model.generate(prompt, { runtime, maxNewTokens: 20, temperature: 5, topK: 10, seed })
    expect((await draw(1)).data).toEqual((await draw(1)).data)
    expect((await draw(1)).data).not.toEqual((await draw(2)).data)
    const heard: number[] = []
    const free = await model.generate(prompt, { runtime, maxNewTokens: 20, temperature: 5, seed: 3 })
    const stopToken = free.data[7]!
    const stopped = await model.generate(prompt, { runtime, maxNewTokens: 20, temperature: 5, seed: 3, stopToken, onToken: ({ batch, token }) => batch === 0 && heard.push(token) })
    const end = heard.indexOf(stopToken)
    expect(end).toBe(heard.length - 1)
    expect(stopped.data.slice(5 + heard.length, 25).every((token) => token === stopToken)).toBe(true)
  })

  it('a future token changes nothing before it', async () => {
    const changed = tensor(Int32Array.from(prompt.data, (token, index) => (index === 4 ? (token + 1) % 23 : token)), [2, 5])
    const before = (await model.forward(prompt, { runtime })).output.data
    const after = (await model.forward(changed, { runtime })).output.data
    expect(after.slice(0, 4 * 23)).toEqual(before.slice(0, 4 * 23))
    expect(after.slice(4 * 23, 5 * 23)).not.toEqual(before.slice(4 * 23, 5 * 23))
  })

  it('refuses what it cannot do', async () => {
    await expect(model.generate(prompt, { runtime, maxNewTokens: 3, temperature: 1 })).rejects.toThrow(/seed/)
    await expect(model.generate(prompt, { runtime, maxNewTokens: 0 })).rejects.toThrow(OptionError)
    await expect(model.generate(tensor(new Int32Array(0), [1, 0]), { runtime, maxNewTokens: 1 })).rejects.toThrow(ShapeError)
    const controller = new AbortController()
    controller.abort(new Error('enough'))
    await expect(model.generate(prompt, { runtime, maxNewTokens: 3, signal: controller.signal })).rejects.toThrow('enough')
  })
})
