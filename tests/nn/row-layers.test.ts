import { createRuntime, OptionError, tensor, type Runtime } from 'heddle'
import { Dropout, Embedding, FeedForward, LayerNorm, Linear, MultiHeadAttention, PositionalEncoding, sinusoidalTable, TransformerBlock } from 'heddle/nn'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { keepMask, philox } from '../support/philox.ts'
import { Random } from '../support/random.ts'
import { normalTensor, shared } from '../support/tensors.ts'
import { worst } from './worst.ts'

let runtime: Runtime
let local: Runtime
beforeAll(async () => {
  runtime = await createRuntime({ workers: 2 })
  local = await createRuntime({ workers: 0 })
})
afterAll(() => Promise.all([runtime.close(), local.close()]))

describe('row-wise layers', () => {
  const random = new Random(1)
  it('Linear keeps the rank and maps rows', async () => {
    const layer = new Linear(5, 3, { seed: 4 })
    layer.bias!.data.set([1, 2, 3])
    layer.bias!.touch()
    const x = normalTensor(random, [2, 7, 5])
    const { output } = await layer.forward(x, { runtime })
    const flat = await layer.forward({ data: x.data.slice(0, 35), shape: [7, 5] }, { runtime: local })
    expect(output.shape).toEqual([2, 7, 3])
    expect(flat.output.shape).toEqual([7, 3])
    expect([...flat.output.data]).toEqual([...output.data.slice(0, 21)])
    const first = layer.weight.data.slice(0, 5).reduce((sum, weight, k) => sum + weight * x.data[k]!, 1)
    expect(output.data[0]).toBeCloseTo(first, 5)
  })

  it('a changed parameter is packed again', async () => {
    const layer = new Linear(4, 4)
    const x = normalTensor(random, [3, 4])
    const before = (await layer.forward(x, { runtime })).output.data
    layer.weight.data.fill(0)
    layer.weight.touch()
    const after = (await layer.forward(x, { runtime })).output.data
    expect(before.some((value) => value !== 0)).toBe(true)
    expect(after.every((value) => value === 0)).toBe(true)
  })

  it('plain inputs give plain outputs, shared inputs shared ones', async () => {
    const layer = new LayerNorm(6)
    const x = normalTensor(random, [4, 6])
    expect((await layer.forward(x, { runtime })).output.data.buffer).toBeInstanceOf(ArrayBuffer)
    expect((await layer.forward(shared(x), { runtime })).output.data.buffer).toBeInstanceOf(SharedArrayBuffer)
  })

  it('FeedForward has a hidden layer of its own activation', async () => {
    for (const activation of ['relu', 'gelu', 'gelu-tanh'] as const) {
      const layer = new FeedForward({ modelDim: 4, feedForwardDim: 9, activation, seed: 8 })
      const x = normalTensor(random, [5, 4])
      const { output } = await layer.forward(x, { runtime })
      const hidden = (await layer.linear1.forward(x, { runtime })).output
      const activate = { relu: (v: number) => Math.max(0, v), gelu: exactGelu, 'gelu-tanh': (v: number) => 0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3))) }[activation]
      const expected = await layer.linear2.forward({ data: hidden.data.map(activate), shape: hidden.shape }, { runtime })
      expect(worst(output.data, expected.output.data)).toBeLessThan(2e-6)
    }
  })

  it('Dropout is off in evaluation mode, and exact by counter in training mode, whatever the chunks', async () => {
    const layer = new Dropout(10, 0.3)
    const x = normalTensor(random, [2, 9, 10])
    expect((await layer.forward(x, { runtime })).output.data).toEqual(x.data)
    layer.train()
    await expect(layer.forward(x, { runtime })).rejects.toThrow(OptionError)
    for (const options of [{ runtime, chunkSize: 2 }, { runtime: local }]) {
      const { data } = (await layer.forward(x, { ...options, seed: 77 })).output
      for (let batch = 0; batch < 2; batch++) {
        for (let row = 0; row < 9; row++) {
          // The site is the counter's last word: 1 for a layer's first dropout.
          const keep = keepMaskAt(77, 0.3, batch, row, 10, 1)
          keep.forEach((kept, column) => {
            const index = (batch * 9 + row) * 10 + column
            expect(data[index]).toBe(kept ? Math.fround(x.data[index]! / 0.7) : 0)
          })
        }
      }
    }
    expect(keepMask(77, 0.3, 0, 0, 10)).not.toEqual(keepMaskAt(77, 0.3, 0, 0, 10, 1))
  })

  it('Embedding looks tokens up and refuses others', async () => {
    const layer = new Embedding(7, 3, { scale: 2, seed: 1 })
    const tokens = tensor(Int32Array.of(6, 0, 3, 3), [2, 2])
    const { output } = await layer.forward(tokens, { runtime })
    expect(output.shape).toEqual([2, 2, 3])
    expect([...output.data.slice(0, 3)]).toEqual([...layer.weight.data.slice(18, 21)].map((value) => 2 * value))
    await expect(layer.forward(tensor(Int32Array.of(7), [1]), { runtime })).rejects.toThrow(/tokens from 0 to 6/)
    await expect(layer.forward(tensor(Int32Array.of(-1), [1]), { runtime })).rejects.toThrow(OptionError)
  })
})

describe('positions', () => {
  it('are the paper\'s sines and cosines, for odd sizes too', () => {
    for (const modelDim of [1, 7, 16]) {
      const { data } = sinusoidalTable(40, modelDim)
      data.forEach((value, index) => {
        const [position, c] = [Math.floor(index / modelDim), index % modelDim]
        const angle = position / 10_000 ** ((c - (c % 2)) / modelDim)
        expect(Math.abs(value - (c % 2 === 0 ? Math.sin(angle) : Math.cos(angle)))).toBeLessThan(1e-6)
      })
    }
  })

  it('have no longest sequence', () => {
    const { data } = sinusoidalTable(2, 8, 1_000_000)
    expect(data[0]).toBeCloseTo(Math.sin(1_000_000), 6)
  })

  it('are added to every batch', async () => {
    const layer = new PositionalEncoding({ modelDim: 6 })
    const x = normalTensor(new Random(2), [2, 5, 6])
    const { output } = await layer.forward(x, { runtime, chunkSize: 2 })
    const table = sinusoidalTable(5, 6).data
    expect(output.data).toEqual(x.data.map((value, index) => Math.fround(value + table[index % 30]!)))
  })

  it('learned ones are a parameter and end at their length', async () => {
    const layer = new PositionalEncoding({ modelDim: 4, kind: 'learned', maxLength: 3 })
    expect(Object.keys(layer.stateDict())).toEqual(['weight'])
    await expect(layer.forward(normalTensor(new Random(3), [4, 4]), { runtime })).rejects.toThrow(/at most 3 learned positions/)
    expect(() => new PositionalEncoding({ modelDim: 4, kind: 'learned' })).toThrow(OptionError)
  })

  it('rotary attention depends on distances alone', async () => {
    const layer = new MultiHeadAttention({ modelDim: 8, heads: 2, rotary: true, seed: 5 })
    const x = normalTensor(new Random(4), [6, 8])
    // With a cache, the same rows stand behind three others: their mutual scores must not change.
    const window = { before: 2 }
    const alone = (await layer.forward(x, { runtime, causal: true, window })).output.data
    const cache = new TransformerBlock({ modelDim: 8, heads: 2 }).createCache(1, 9)
    await layer.forward(normalTensor(new Random(5), [3, 8]), { runtime, causal: true, cache })
    const behind = (await layer.forward(x, { runtime, causal: true, window, cache })).output.data
    expect(worst(behind.slice(16), alone.slice(16))).toBeLessThan(1e-6)
    expect(worst(behind.slice(0, 8), alone.slice(0, 8))).toBeGreaterThan(1e-3)
  })
})

function exactGelu(x: number): number {
  // Φ by Simpson's rule: far below float32's rounding for |x| ≤ 6.
  const steps = 400
  let sum = 0
  for (let step = 0; step <= steps; step++) {
    const t = (x * step) / steps
    sum += Math.exp((-t * t) / 2) * (step === 0 || step === steps ? 1 : step % 2 === 1 ? 4 : 2)
  }
  return x * (0.5 + (sum * x) / steps / 3 / Math.sqrt(2 * Math.PI))
}

/** The keep mask of a row-wise dropout: counter (⌊c/4⌋, row, batch, site). */
function keepMaskAt(seed: number, probability: number, batch: number, row: number, columns: number, site: number): boolean[] {
  return Array.from({ length: columns }, (_, column) => philoxWord(seed, column, row, batch, site) >= Math.floor(probability * 2 ** 32))
}

function philoxWord(seed: number, column: number, row: number, batch: number, site: number): number {
  return philox([Math.floor(column / 4), row, batch, site], [seed, 0])[column % 4]!
}
