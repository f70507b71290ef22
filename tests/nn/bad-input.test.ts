import { createRuntime, NumericError, OptionError, ShapeError, type Runtime } from 'heddle'
import { LayerNorm, Linear, MultiHeadAttention, TransformerBlock, TransformerEncoder } from 'heddle/nn'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Random } from '../support/random.ts'
import { turns } from '../support/runtimes.ts'
import { normalTensor } from '../support/tensors.ts'

let runtime: Runtime
beforeAll(async () => {
  runtime = await createRuntime({ workers: 2 })
})
afterAll(() => runtime.close())

describe('bad input', () => {
  const x = { data: new Float32Array(12), shape: [3, 4] }
  it.each([
    ["a model size that is not the layer's", () => new Linear(5, 2).forward(x, { runtime }), ShapeError],
    ['a rank of 1', () => new Linear(12, 2).forward({ data: x.data, shape: [12] }, { runtime }), ShapeError],
    [
      'data that are no floats',
      () => new Linear(4, 2).forward({ data: new Int32Array(12), shape: [3, 4] } as never, { runtime }),
      OptionError,
    ],
    [
      "a length that is not the shape's",
      () => new Linear(4, 2).forward({ data: x.data, shape: [4, 4] }, { runtime }),
      ShapeError,
    ],
    [
      'an unknown option',
      () => new MultiHeadAttention({ modelDim: 4, heads: 2 }).forward(x, { runtime, casual: true } as never),
      OptionError,
    ],
    [
      'keys of another batch',
      () =>
        new MultiHeadAttention({ modelDim: 4, heads: 2 }).forward(x, {
          runtime,
          key: { data: new Float32Array(24), shape: [2, 3, 4] },
        }),
      ShapeError,
    ],
    [
      'a key mask of another length',
      () =>
        new MultiHeadAttention({ modelDim: 4, heads: 2 }).forward(x, {
          runtime,
          keyMask: { data: new Uint8Array(2), shape: [2] },
        }),
      ShapeError,
    ],
    ['a signal that is none', () => new Linear(4, 2).forward(x, { runtime, signal: 5 as never }), OptionError],
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
    expect(() => new TransformerBlock({ modelDim: 8, heads: 2, feedForwardDim: null as never })).toThrow(OptionError)
    expect(() => new Linear(0, 3)).toThrow(OptionError)
    expect(() => new Linear(3, 3, { bais: false } as never)).toThrow(/did you mean bias/)
  })

  it('constructors refuse what no lane could hold', () => {
    expect(() => new LayerNorm(2 ** 31)).toThrow(ShapeError)
    expect(() => new TransformerBlock({ modelDim: 8, heads: 2, feedForwardDim: 2 ** 31 })).toThrow(ShapeError)
    expect(() => new Linear(2 ** 53 - 1, 2 ** 53 - 1)).toThrow(ShapeError)
    expect(() => new TransformerEncoder({ modelDim: 8, heads: 2, layers: 2 ** 31 })).toThrow(OptionError)
  })

  it('NaN weights are named', () => {
    const layer = new TransformerBlock({ modelDim: 8, heads: 2, feedForwardDim: 8 })
    const state = Object.fromEntries(
      Object.entries(layer.stateDict()).map(([name, { data, shape }]) => [name, { data: data.slice(), shape }]),
    )
    state['linear1.bias']!.data[3] = NaN
    expect(() => layer.loadStateDict(state)).toThrow(NumericError)
    expect(() => layer.loadStateDict(state)).toThrow(/linear1\.bias/)
  })

  it('an abort in flight rejects with its reason', async () => {
    const layer = new TransformerBlock({ modelDim: 128, heads: 4 })
    const controller = new AbortController()
    const run = layer.forward(normalTensor(new Random(8), [4000, 128]), { runtime, signal: controller.signal })
    void turns(5).then(() => controller.abort(new Error('stop')))
    await expect(run).rejects.toThrow('stop')
  })
})
