import { createRuntime, NumericError, OptionError, ShapeError, tensor, type Runtime } from 'heddle'
import {
  CausalLanguageModel, Dropout, Embedding, FeedForward, LayerNorm, Linear, MultiHeadAttention, PositionalEncoding, sinusoidalTable, TransformerBlock,
  TransformerEncoder, type NormEvent, type TraceEvent,
} from 'heddle/nn'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { keepMask, philox } from '../support/philox.ts'
import { Random } from '../support/random.ts'
import { normalTensor, shared } from '../support/tensors.ts'

let runtime: Runtime
let local: Runtime
beforeAll(async () => {
  runtime = await createRuntime({ workers: 2 })
  local = await createRuntime({ workers: 0 })
})
afterAll(() => Promise.all([runtime.close(), local.close()]))

function worst(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(actual.length).toBe(expected.length)
  let error = 0
  for (let index = 0; index < expected.length; index++) {
    const difference = Math.abs(actual[index]! - expected[index]!)
    error = Math.max(error, Number.isNaN(difference) ? Infinity : difference)
  }
  return error
}

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

describe('attention layers', () => {
  const random = new Random(6)
  it('are equivariant to permutations', async () => {
    const layer = new TransformerBlock({ modelDim: 16, heads: 4, feedForwardDim: 32, seed: 3 })
    const x = normalTensor(random, [9, 16])
    const order = random.shuffle([...Array(9).keys()])
    const permuted = { data: Float32Array.from(order.flatMap((row) => [...x.data.slice(row * 16, row * 16 + 16)])), shape: x.shape }
    const straight = (await layer.forward(x, { runtime })).output.data
    const shuffled = (await layer.forward(permuted, { runtime })).output.data
    order.forEach((row, place) => expect(worst(shuffled.slice(place * 16, place * 16 + 16), straight.slice(row * 16, row * 16 + 16))).toBeLessThan(2e-6))
  })

  it('give the same bits for any chunk size and pool', async () => {
    const layer = new TransformerEncoder({ modelDim: 32, heads: 4, keyValueHeads: 2, feedForwardDim: 48, layers: 2, norm: 'pre', activation: 'gelu', rotary: true })
    const x = normalTensor(random, [2, 130, 32])
    const straight = (await layer.forward(x, { runtime: local, causal: true })).output.data
    for (const chunkSize of [1, 7, 64, 65, 130]) expect((await layer.forward(x, { runtime, chunkSize, causal: true })).output.data).toEqual(straight)
  })

  it('dropout is the same for any chunk size, and differs from layer to layer', async () => {
    const layer = new TransformerEncoder({ modelDim: 16, heads: 2, feedForwardDim: 24, layers: 2, dropout: 0.5 }).train()
    const x = normalTensor(random, [20, 16])
    await expect(layer.forward(x, { runtime })).rejects.toThrow(/seed/)
    const straight = (await layer.forward(x, { runtime: local, seed: 5n })).output.data
    expect((await layer.forward(x, { runtime, chunkSize: 3, seed: 5n })).output.data).toEqual(straight)
    expect((await layer.forward(x, { runtime, seed: 6n })).output.data).not.toEqual(straight)
    const evaluated = (await layer.eval().forward(x, { runtime })).output.data
    expect(evaluated).not.toEqual(straight)
  })

  it('a mask [B, M, N] counts for every head', async () => {
    const layer = new MultiHeadAttention({ modelDim: 8, heads: 2 })
    const x = normalTensor(random, [2, 3, 8])
    const mask = { data: Uint8Array.from({ length: 18 }, (_, index) => Number(index % 3 <= Math.floor((index % 9) / 3))), shape: [2, 3, 3] }
    const masked = (await layer.forward(x, { runtime, mask })).output.data
    const causal = (await layer.forward(x, { runtime, causal: true })).output.data
    expect(worst(masked, causal)).toBeLessThan(1e-6)
  })

  it('a key mask with gaps leaves those keys out', async () => {
    const layer = new MultiHeadAttention({ modelDim: 8, heads: 2 })
    const x = normalTensor(random, [5, 8])
    const keyMask = { data: Uint8Array.of(1, 0, 1, 0, 1), shape: [5] }
    const masked = (await layer.forward(x, { runtime, keyMask })).output.data
    const kept = { data: Float32Array.from([0, 2, 4].flatMap((row) => [...x.data.slice(row * 8, row * 8 + 8)])), shape: [3, 8] }
    const fewer = (await layer.forward(x, { runtime, key: kept })).output.data
    expect(worst(masked, fewer)).toBeLessThan(1e-6)
    expect(worst((await layer.forward(x, { runtime })).output.data, fewer)).toBeGreaterThan(1e-3)
  })

  it('returns weights per head, averaged, or of chosen rows', async () => {
    const layer = new MultiHeadAttention({ modelDim: 8, heads: 4 })
    const x = normalTensor(random, [2, 5, 8])
    const full = (await layer.forward(x, { runtime, returnWeights: true })).weights!
    expect(full.shape).toEqual([2, 4, 5, 5])
    const mean = (await layer.forward(x, { runtime, returnWeights: true, averageWeights: true })).weights!
    expect(mean.shape).toEqual([2, 5, 5])
    expect(mean.data[0]).toBeCloseTo([0, 1, 2, 3].reduce((sum, head) => sum + full.data[head * 25]!, 0) / 4, 6)
    const some = await layer.forward(x, { runtime, returnWeights: { heads: [2], rows: [4] }, returnStatistics: true, returnLogSumExp: true })
    expect(some.weights!.shape).toEqual([2, 1, 1, 5])
    expect(worst(some.weights!.data.slice(0, 5), full.data.slice(70, 75))).toBeLessThan(1e-6)
    expect(some.statistics!.entropy.shape).toEqual([2, 4, 5])
    expect(some.logSumExp!.shape).toEqual([2, 4, 5])
  })

  it('a block of E 512, FF 2048 has 3,152,384 parameters', () => {
    expect(new TransformerBlock({ modelDim: 512, heads: 8, feedForwardDim: 2048 }).numParameters()).toBe(3_152_384)
  })

  it('the plan is what the counting allocator sees', async () => {
    const fresh = await createRuntime({ workers: 2 })
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
    await layer.forward(x, { runtime, trace: (event) => traced.push(event), monitorNorms: (event) => norms.push(event) })
    expect(traced.filter(({ layer: name }) => name.startsWith('layers.0')).map(({ step, shape }) => `${step} ${shape.join('×')}`)).toEqual([
      'query 1×2×3×4', 'key 1×2×3×4', 'value 1×2×3×4', 'context 1×2×3×4', 'attention output 1×3×8', 'norm 1×3×8', 'hidden 1×3×16', 'linear 1×3×8', 'norm 1×3×8',
    ])
    expect(norms.map(({ layer: name, warning }) => [name, warning])).toEqual([['layers.0', false], ['layers.1', false]])
    layer.blocks[1]!.norm2.weight.data.fill(100)
    layer.blocks[1]!.norm2.weight.touch()
    norms.length = 0
    await layer.forward(x, { runtime, monitorNorms: (event) => norms.push(event) })
    expect(norms[1]).toMatchObject({ layer: 'layers.1', warning: true })
    expect(norms[1]!.ratio).toBeGreaterThan(10)
  })
})

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

describe('bad input', () => {
  const x = { data: new Float32Array(12), shape: [3, 4] }
  it.each([
    ['a model size that is not the layer\'s', () => new Linear(5, 2).forward(x, { runtime }), ShapeError],
    ['a rank of 1', () => new Linear(12, 2).forward({ data: x.data, shape: [12] }, { runtime }), ShapeError],
    ['data that are no floats', () => new Linear(4, 2).forward({ data: new Int32Array(12), shape: [3, 4] } as never, { runtime }), OptionError],
    ['a length that is not the shape\'s', () => new Linear(4, 2).forward({ data: x.data, shape: [4, 4] }, { runtime }), ShapeError],
    ['an unknown option', () => new MultiHeadAttention({ modelDim: 4, heads: 2 }).forward(x, { runtime, casual: true } as never), OptionError],
    ['keys of another batch', () => new MultiHeadAttention({ modelDim: 4, heads: 2 }).forward(x, { runtime, key: { data: new Float32Array(24), shape: [2, 3, 4] } }), ShapeError],
    ['a key mask of another length', () => new MultiHeadAttention({ modelDim: 4, heads: 2 }).forward(x, { runtime, keyMask: { data: new Uint8Array(2), shape: [2] } }), ShapeError],
    ['a runtime that is none', () => new Linear(4, 2).forward(x, { runtime: {} as never }), OptionError],
  ] as const)('%s is a typed error', async (_name, call, Class) => {
    await expect(call()).rejects.toThrow(Class)
  })

  it('constructors refuse wrong options', () => {
    expect(() => new MultiHeadAttention({ modelDim: 10, heads: 3 })).toThrow(/heads that divide modelDim 10/)
    expect(() => new MultiHeadAttention({ modelDim: 8, heads: 4, keyValueHeads: 3 })).toThrow(OptionError)
    expect(() => new MultiHeadAttention({ modelDim: 6, heads: 2, rotary: true })).toThrow(/even head size/)
    expect(() => new TransformerBlock({ modelDim: 8, heads: 2, normm: 'pre' } as never)).toThrow(/did you mean norm/)
    expect(() => new TransformerBlock({ modelDim: 8, heads: 2, dropout: 1.5 })).toThrow(OptionError)
    expect(() => new TransformerEncoder({ modelDim: 8, heads: 2, layers: 0 })).toThrow(OptionError)
    expect(() => new Linear(0, 3)).toThrow(OptionError)
  })

  it('NaN weights are named', () => {
    const layer = new TransformerBlock({ modelDim: 8, heads: 2, feedForwardDim: 8 })
    const state = Object.fromEntries(Object.entries(layer.stateDict()).map(([name, { data, shape }]) => [name, { data: data.slice(), shape }]))
    state['linear1.bias']!.data[3] = NaN
    expect(() => layer.loadStateDict(state)).toThrow(NumericError)
    expect(() => layer.loadStateDict(state)).toThrow(/linear1\.bias/)
  })

  it('an abort in flight rejects with its reason', async () => {
    const layer = new TransformerBlock({ modelDim: 128, heads: 4 })
    const controller = new AbortController()
    const run = layer.forward(normalTensor(new Random(8), [4000, 128]), { runtime, signal: controller.signal })
    setTimeout(() => controller.abort(new Error('stop')), 5)
    await expect(run).rejects.toThrow('stop')
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
