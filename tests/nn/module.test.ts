import { describe, expect, it } from 'vitest'
import { FormatError, NumericError, ShapeError, type Tensor } from 'heddle'
import { add, linear, Module, Parameter, wholeWeight, type Graph, type Value } from 'heddle/nn'

class Affine extends Module {
  readonly inputDim = 3
  readonly weight = this.addParameter('weight', new Parameter([2, 3]))
  readonly bias = this.addParameter('bias', new Parameter([2]))

  override build(graph: Graph, input: Value): Value {
    return linear(graph, input, wholeWeight(this.weight), wholeWeight(this.bias))
  }
}

class Pair extends Module {
  readonly inputDim = 3
  readonly first = this.addModule('first', new Affine())
  readonly beside = this.addModule('', new Affine())

  override build(graph: Graph, input: Value): Value {
    return add(graph, this.first.build(graph, input), this.beside.build(graph, input))
  }
}

const state = () => ({
  'first.weight': { data: Float32Array.of(1, 2, 3, 4, 5, 6), shape: [2, 3] },
  'first.bias': { data: Float32Array.of(7, 8), shape: [2] },
  weight: { data: Float32Array.of(9, 10, 11, 12, 13, 14), shape: [2, 3] },
  bias: { data: Float32Array.of(15, 16), shape: [2] },
})

describe('Module', () => {
  it('names parameters by their path and counts them', () => {
    const pair = new Pair()
    expect(Object.keys(pair.stateDict())).toEqual(['first.weight', 'first.bias', 'weight', 'bias'])
    expect(pair.numParameters()).toBe(16)
    expect(pair.parameters()).toHaveLength(4)
  })

  it('switches its parts with it', () => {
    const pair = new Pair()
    expect(pair.training).toBe(false)
    expect(pair.train().first.training).toBe(true)
    expect(pair.eval().first.training).toBe(false)
  })

  it('takes over a copy of a state dict and counts it as a change', () => {
    const pair = new Pair()
    const given = state()
    const version = pair.first.weight.version
    expect(pair.loadStateDict(given)).toEqual({ missing: [], unexpected: [], skipped: [] })
    given['first.weight'].data[0] = 99
    expect([...pair.first.weight.data]).toEqual([1, 2, 3, 4, 5, 6])
    expect([...pair.beside.bias.data]).toEqual([15, 16])
    expect(pair.first.weight.version).toBeGreaterThan(version)
  })

  it('lists everything that is wrong in one error, and changes nothing', () => {
    const pair = new Pair()
    const rest: Record<string, Tensor> = state()
    delete rest['first.bias']
    const wrong = {
      ...rest,
      weight: { data: new Float32Array(6), shape: [3, 2] },
      extra: rest['bias'],
      another: rest['bias'],
    } as Record<string, Tensor>
    expect(() => pair.loadStateDict(wrong)).toThrow(FormatError)
    expect(() => pair.loadStateDict(wrong)).toThrow(
      /missing first\.bias; unexpected extra, another; misshapen weight \(expected \[2, 3\], got \[3, 2\]\)/,
    )
    expect(pair.first.weight.data.every((value) => value === 0)).toBe(true)
  })

  it('is a ShapeError when only shapes are wrong, all of them listed', () => {
    const wrong = {
      ...state(),
      weight: { data: new Float32Array(6), shape: [6] },
      bias: { data: new Float32Array(3), shape: [2] },
    }
    expect(() => new Pair().loadStateDict(wrong)).toThrow(ShapeError)
    expect(() => new Pair().loadStateDict(wrong)).toThrow(/weight .*, bias \(expected 2 elements, got 3\)/)
  })

  it('names every parameter with NaN or infinities', () => {
    const wrong = state()
    wrong['first.bias'].data[1] = NaN
    wrong.weight.data[4] = -Infinity
    const pair = new Pair()
    expect(() => pair.loadStateDict(wrong)).toThrow(NumericError)
    expect(() => pair.loadStateDict(wrong)).toThrow(
      /first\.bias \(NaN at element 1\), weight \(-Infinity at element 4\)/,
    )
    expect(pair.beside.bias.data[0]).toBe(0)
    pair.loadStateDict(wrong, { allowNonFinite: true })
    expect(pair.first.bias.data[1]).toBeNaN()
  })

  it('leaves missing and unexpected names alone when not strict', () => {
    const rest: Record<string, Tensor> = state()
    delete rest['bias']
    const pair = new Pair()
    expect(pair.loadStateDict({ ...rest, extra: rest['weight']! }, { strict: false })).toEqual({
      missing: ['bias'],
      unexpected: ['extra'],
      skipped: [],
    })
    expect(pair.beside.weight.data[0]).toBe(9)
    expect(pair.beside.bias.data[0]).toBe(0)
  })

  it.each([
    ['int32', Int32Array.of(0, 1, 2)],
    ['int64', BigInt64Array.of(0n, 1n, 2n)],
    ['bytes', Uint8Array.of(1, 1, 1)],
  ])('skips %s buffers of other libraries, and reports them', (_name, data) => {
    const pair = new Pair()
    const given = { ...state(), 'first.position_ids': { data: data as Int32Array, shape: [1, 3] } }
    expect(pair.loadStateDict(given)).toEqual({ missing: [], unexpected: [], skipped: ['first.position_ids'] })
    expect(pair.first.weight.data[0]).toBe(1)
  })

  it('refuses integers in place of a parameter, and other floats that it does not know', () => {
    const integers = { ...state(), bias: { data: Int32Array.of(1, 2), shape: [2] } }
    expect(() => new Pair().loadStateDict(integers)).toThrow(/bias \(expected a float32 tensor \[2\], got Int32Array\)/)
    const floats = { ...state(), inv_freq: { data: Float32Array.of(1), shape: [1] } }
    expect(() => new Pair().loadStateDict(floats)).toThrow(/unexpected inv_freq/)
  })

  it('loads what has a prefix, and leaves the rest of the file alone', () => {
    const named = Object.entries(state()).map(([name, tensor]): [string, Tensor] => [`model.layers.0.${name}`, tensor])
    const file = { ...Object.fromEntries(named), 'model.norm.weight': { data: new Float32Array(1), shape: [1] } }
    const pair = new Pair()
    expect(pair.loadStateDict(file, { prefix: 'model.layers.0.' })).toEqual({
      missing: [],
      unexpected: [],
      skipped: [],
    })
    expect(pair.first.weight.data[0]).toBe(1)
    expect(() => pair.loadStateDict(file)).toThrow(/option prefix: "model\.layers\.0\." takes the names that begin so/)
    expect(() => pair.loadStateDict(file, { prefix: 'layers.' })).toThrow(
      /expected names that begin with "layers\.", got model\.layers\.0\.first\.weight/,
    )
    expect(() => pair.loadStateDict(file, { prefix: 1 as never })).toThrow(/option prefix: expected text, got number 1/)
  })
})
