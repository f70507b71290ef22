import { createRuntime, OptionError, tensor, type Runtime } from 'heddle'
import {
  Dropout,
  Embedding,
  FeedForward,
  LayerNorm,
  Linear,
  PositionalEncoding,
  sinusoidalTable,
  TransformerBlock,
} from 'heddle/nn'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { philox } from '../support/philox.ts'
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

  it.each(['post', 'pre'] as const)('both norms of a %s-norm block take its epsilon', async (norm) => {
    // Rows of ±0.5: a variance of a quarter beside an epsilon of 2.
    const epsilon = 2
    const block = new TransformerBlock({ modelDim: 4, heads: 2, norm, epsilon })
    const x = { data: Float32Array.of(0.5, -0.5, -0.5, 0.5, 1.5, 0.5, 0.5, 1.5), shape: [2, 4] }
    for (const parameter of block.parameters()) if (parameter.shape.length === 2) parameter.data.fill(0)
    block.feedForward.linear2.bias!.data.fill(1)
    block.norm2.bias!.data.fill(3)
    const linear1 = block.feedForward.linear1
    for (let c = 0; c < 4; c++) linear1.weight.data[c * 4 + c] = 1
    for (let c = 0; c < 4; c++) block.feedForward.linear2.weight.data[c * 16 + c] = 1
    for (const parameter of block.parameters()) parameter.touch()
    const { output } = await block.forward(x, { runtime })
    // Attention adds nothing; the hidden layer is the positive part of its input.
    const normed = (row: readonly number[]): number[] => {
      const mean = row.reduce((sum, value) => sum + value, 0) / 4
      const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 4
      return row.map((value) => (value - mean) / Math.sqrt(variance + epsilon))
    }
    const fed = (row: readonly number[]) => row.map((value) => Math.max(0, value) + 1)
    const expected = [0, 1].flatMap((at) => {
      const row = [...x.data.slice(at * 4, at * 4 + 4)]
      if (norm === 'pre') return fed(normed(row).map((value) => value + 3)).map((value, c) => value + row[c]!)
      const h = normed(row)
      return normed(fed(h).map((value, c) => value + h[c]!)).map((value) => value + 3)
    })
    expect(worst(output.data, expected)).toBeLessThan(1e-6)
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
    for (const activation of ['relu', 'gelu', 'gelu-tanh', 'silu'] as const) {
      const layer = new FeedForward({ modelDim: 4, feedForwardDim: 9, activation, seed: 8 })
      const x = normalTensor(random, [5, 4])
      const { output } = await layer.forward(x, { runtime })
      const hidden = (await layer.linear1.forward(x, { runtime })).output
      const activate = {
        relu: (v: number) => Math.max(0, v),
        gelu: exactGelu,
        'gelu-tanh': (v: number) => 0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3))),
        silu: (v: number) => v / (1 + Math.exp(-v)),
      }[activation]
      const expected = await layer.linear2.forward(
        { data: hidden.data.map(activate), shape: hidden.shape },
        { runtime },
      )
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
  it("are the paper's sines and cosines, for odd sizes too", () => {
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
    await expect(layer.forward(normalTensor(new Random(3), [4, 4]), { runtime })).rejects.toThrow(
      /at most 3 learned positions/,
    )
    expect(() => new PositionalEncoding({ modelDim: 4, kind: 'learned' })).toThrow(OptionError)
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
function keepMaskAt(
  seed: number,
  probability: number,
  batch: number,
  row: number,
  columns: number,
  site: number,
): boolean[] {
  return Array.from(
    { length: columns },
    (_, column) => philoxWord(seed, column, row, batch, site) >= Math.floor(probability * 2 ** 32),
  )
}

function philoxWord(seed: number, column: number, row: number, batch: number, site: number): number {
  return philox([Math.floor(column / 4), row, batch, site], [seed, 0])[column % 4]!
}
