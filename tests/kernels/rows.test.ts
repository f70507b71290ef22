import { describe, expect, test } from 'vitest'
import {
  ACTIVATION_GELU,
  ACTIVATION_GELU_TANH,
  ACTIVATION_RELU,
  ACTIVATION_SILU,
  ACTIVATION_TANH,
} from '../../assembly/abi.ts'
import type { RowKernels } from '../../src/backends/wasm/stage-memory.ts'
import { linearScratchBytes } from '../../src/plan/stage-arena.ts'
import { exactActivations, finiteRange, tanhArgument } from '../support/activations.ts'
import type { Reference } from '../support/oracle.ts'
import { Random } from '../support/random.ts'
import { bytesOf, normalTensor } from '../support/tensors.ts'
import { binaries, rowModules, type Binary } from './kernel-lane.ts'

const POISON = 0x7fc0dead
const memory = new WebAssembly.Memory({ initial: 64 })
const floats = new Float32Array(memory.buffer)
const words = new Int32Array(memory.buffer)
const kernelsOf = Object.fromEntries(
  binaries.map((binary) => [binary, new WebAssembly.Instance(rowModules[binary], { env: { memory } }).exports]),
) as unknown as Record<Binary, RowKernels>

/**
 * Lays arrays out between poisoned words; `checked` then gives what a kernel wrote, or throws where it wrote elsewhere.
 */
class Layout {
  #end = 65536 >> 2
  readonly #taken: [number, number][] = []

  constructor() {
    words.fill(POISON, this.#end)
  }

  /** The address of a copy of `data`, 16-byte aligned, or `misaligned` elements past that. */
  put(data: Float32Array, misaligned = 0): number {
    const at = this.room(data.length, misaligned)
    floats.set(data, at >> 2)
    return at
  }

  room(length: number, misaligned = 0): number {
    const start = Math.ceil((this.#end + 8) / 4) * 4 + misaligned
    this.#end = start + length
    this.#taken.push([start, start + length])
    return start << 2
  }

  checked(at: number, length: number): Float32Array {
    for (let word = 65536 >> 2; word < this.#end + 64; word++) {
      if (words[word] !== POISON && !this.#taken.some(([from, to]) => word >= from && word < to))
        throw new Error(`word ${word} was written`)
    }
    const result = floats.slice(at >> 2, (at >> 2) + length)
    if (new Int32Array(result.buffer).includes(POISON)) throw new Error('an element was not written')
    return result
  }
}

function reference(
  shape: readonly number[],
  element: (index: number, round: (x: number) => number) => number,
): Reference {
  const length = shape.reduce((product, size) => product * size, 1)
  const with_ = (round: (x: number) => number) => Float64Array.from({ length }, (_, index) => element(index, round))
  return { exact: with_((x) => x), plain: with_(Math.fround), shape }
}

function packed(kernels: RowKernels, layout: Layout, weight: Float32Array, outSize: number, inSize: number): number {
  const panels = layout.room(Math.ceil(outSize / 8) * 8 * inSize)
  const raw = layout.put(weight)
  for (let row = 0; row < outSize; row += 8)
    kernels.packLanes(
      raw + row * inSize * 4,
      inSize,
      panels + row * inSize * 4,
      Math.min(8, outSize - row),
      inSize,
      inSize,
      1,
    )
  return panels
}

describe.each(binaries)('%s', (binary) => {
  const kernels = kernelsOf[binary]
  const random = new Random(8)
  const normals = (...shape: number[]) => normalTensor(random, shape).data

  describe('X·Wᵀ + b', () => {
    const upTo = (most: number, ...more: number[]) => [
      ...Array.from({ length: most }, (_, index) => index + 1),
      ...more,
    ]
    const cases = [
      ...upTo(11, 64, 67).map((rows) => [rows, 9, 10]),
      ...upTo(11, 33, 64, 257).map((inSize) => [5, inSize, 10]),
      ...upTo(19, 63, 64, 65).map((outSize) => [5, 7, outSize]),
    ] as [number, number, number][]
    test.each(cases)('%i rows, %i → %i', (rows, inSize, outSize) => {
      for (const biased of [true, false]) {
        const layout = new Layout()
        const [x, w, b] = [normals(rows, inSize), normals(outSize, inSize), normals(outSize)]
        const bias = new Float32Array(Math.ceil(outSize / 8) * 8)
        bias.set(b)
        const y = layout.room(rows * outSize)
        const scratch = layout.room(linearScratchBytes(inSize, rows) / 4)
        kernels.linearRows(
          layout.put(x),
          rows,
          inSize,
          packed(kernels, layout, w, outSize, inSize),
          biased ? layout.put(bias) : 0,
          y,
          outSize,
          scratch,
        )
        const should = reference([rows, outSize], (index, round) => {
          const [row, column] = [Math.floor(index / outSize), index % outSize]
          let sum = 0
          for (let k = 0; k < inSize; k++)
            sum = round(sum + round((x[row * inSize + k] as number) * (w[column * inSize + k] as number)))
          return biased ? round(sum + (b[column] as number)) : sum
        })
        expect(layout.checked(y, rows * outSize)).toMatchOracle(should)
      }
    })

    test('a row has the same bits wherever it stands', () => {
      const [rows, inSize, outSize] = [13, 37, 21]
      const layout = new Layout()
      const x = normals(rows, inSize)
      const panels = packed(kernels, layout, normals(outSize, inSize), outSize, inSize)
      const [whole, alone] = [layout.room(rows * outSize), layout.room(outSize)]
      const scratch = layout.room(linearScratchBytes(inSize, rows) / 4)
      kernels.linearRows(layout.put(x), rows, inSize, panels, 0, whole, outSize, scratch)
      const together = layout.checked(whole, rows * outSize - 0)
      for (let row = 0; row < rows; row++) {
        kernels.linearRows(
          layout.put(x.subarray(row * inSize, (row + 1) * inSize)),
          1,
          inSize,
          panels,
          0,
          alone,
          outSize,
          scratch,
        )
        expect(bytesOf(floats.slice(alone >> 2, (alone >> 2) + outSize))).toEqual(
          bytesOf(together.subarray(row * outSize, (row + 1) * outSize)),
        )
      }
    })
  })

  test.each([1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 64, 67, 512])('layer norm of %i elements', (size) => {
    const layout = new Layout()
    const rows = 3
    const [x, w, b] = [normals(rows, size).map((value) => 3 * value + 5), normals(size), normals(size)]
    const y = layout.room(rows * size)
    kernels.normRows(layout.put(x), rows, size, layout.put(w), layout.put(b), 1e-5, y)
    const should = reference([rows, size], (index, round) => {
      const row = x.subarray(Math.floor(index / size) * size, (Math.floor(index / size) + 1) * size)
      const mean = round(row.reduce((sum, value) => round(sum + value), 0) / size)
      const variance = round(row.reduce((sum, value) => round(sum + round(round(value - mean) ** 2)), 0) / size)
      const scaled = round(round((row[index % size] as number) - mean) / round(Math.sqrt(round(variance + 1e-5))))
      return round(round(scaled * (w[index % size] as number)) + (b[index % size] as number))
    })
    expect(layout.checked(y, rows * size)).toMatchOracle(should)
  })

  test.each([1, 2, 3, 4, 5, 8, 11])('y += x over %i elements', (count) => {
    const layout = new Layout()
    const [x, y] = [normals(count), normals(count)]
    const at = layout.put(y)
    kernels.addRows(layout.put(x), count, at)
    expect(layout.checked(at, count)).toEqual(y.map((value, index) => value + (x[index] as number)))
  })

  describe('activations over the whole range of float32', () => {
    const run = (values: Float32Array, activation: Activation) => {
      const layout = new Layout()
      const at = layout.put(values)
      kernels.activateRows(at, values.length, ACTIVATIONS[activation].code)
      return layout.checked(at, values.length)
    }
    const names = Object.keys(ACTIVATIONS) as Activation[]

    test.each(names)('%s is within its bound of float64', (activation) => {
      const inputs = finiteRange(40, 40_001)
      const { relativeBound } = ACTIVATIONS[activation]
      let worst = { x: 0, share: 0, is: 0, should: 0 }
      run(inputs, activation).forEach((is, index) => {
        const x = inputs[index] as number
        const should = exactActivations[activation](x)
        // Whatever is no normal number may become 0 on the way.
        const share = Math.abs(is - should) / (relativeBound(x) * Math.abs(should) + 2 ** -126)
        if (!(share <= worst.share)) worst = { x, share, is, should }
      })
      expect(worst.share, JSON.stringify(worst)).toBeLessThanOrEqual(1)
    })

    test('GELU has the values of the tables', () => {
      expect(
        [...run(Float32Array.of(-5.5, -8, -100, -10_000, 1), 'gelu')].map((value) => value.toPrecision(4)),
      ).toEqual(['-1.044e-7', '-4.977e-15', '0.000', '0.000', '0.8413'])
    })

    test.each(names)('%s: zeros, the largest numbers, infinities and NaN', (activation) => {
      const largest = 3.4028234663852886e38
      const inputs = Float32Array.of(NaN, Infinity, largest, -largest, 0, -0, -Infinity, NaN, NaN, NaN)
      const [nan, infinite, most, least, zero, minusZero, below, ...rest] = run(inputs, activation)
      expect([nan, ...rest]).toEqual([NaN, NaN, NaN, NaN])
      const { above, under } =
        activation === 'tanh' ? { above: [1, 1], under: 1 } : { above: [Infinity, largest], under: 0 }
      expect([infinite, most]).toEqual(above)
      for (const value of [zero, minusZero]) expect(Math.abs(value as number)).toBe(0)
      for (const value of [least, below]) expect(-(value as number) + 0).toBe(under)
      const payload = new Float32Array(Uint32Array.of(0x7f800001, 0x7fffffff, 0xffc12345).buffer)
      expect([...run(payload, activation)]).toEqual([NaN, NaN, NaN])
    })

    test.each(names)('%s: an element has the same bits wherever it stands', (activation) => {
      const inputs = finiteRange(1, 37)
      const whole = run(inputs, activation)
      for (const count of [1, 2, 3, 5, 6, 7])
        expect(bytesOf(run(inputs.subarray(300, 300 + count), activation))).toEqual(
          bytesOf(whole.subarray(300, 300 + count)),
        )
    })
  })
})

type Activation = keyof typeof exactActivations

/** What each promises of its normal results: rounding, and in the tanh form the error of y in e^(−2|y|). */
const ACTIVATIONS: Readonly<
  Record<Activation, { readonly code: number; readonly relativeBound: (x: number) => number }>
> = {
  relu: { code: ACTIVATION_RELU, relativeBound: () => 0 },
  gelu: { code: ACTIVATION_GELU, relativeBound: () => 5e-7 },
  tanh: { code: ACTIVATION_TANH, relativeBound: () => 5e-7 },
  // Below −87 the power is 0.
  silu: { code: ACTIVATION_SILU, relativeBound: (x) => (x < -87 ? 1 : 5e-7) },
  'gelu-tanh': {
    code: ACTIVATION_GELU_TANH,
    relativeBound: (x) => 5e-7 * (1 + (x < 0 ? 2 * Math.abs(tanhArgument(x)) : 0)),
  },
}
