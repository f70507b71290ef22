import { describe, expect, test } from 'vitest'
import { ACTIVATION_GELU, ACTIVATION_GELU_TANH, ACTIVATION_RELU } from '../../assembly/abi.ts'
import type { RowKernels } from '../../src/backends/wasm/stage-memory.ts'
import { linearScratchBytes } from '../../src/plan/stage-arena.ts'
import type { Reference } from '../support/oracle.ts'
import { Random } from '../support/random.ts'
import { bytesOf, normalTensor } from '../support/tensors.ts'
import { binaries, modules, type Binary } from './kernel-lane.ts'

const POISON = 0x7fc0dead
const memory = new WebAssembly.Memory({ initial: 64 })
const floats = new Float32Array(memory.buffer)
const words = new Int32Array(memory.buffer)
const kernelsOf = Object.fromEntries(
  binaries.map((binary) => [binary, new WebAssembly.Instance(modules[binary], { env: { memory } }).exports]),
) as unknown as Record<Binary, RowKernels>

/** Lays arrays out between poisoned words; `checked` then gives what a kernel wrote, or throws where it wrote elsewhere. */
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
    const start = (Math.ceil((this.#end + 8) / 4)) * 4 + misaligned
    this.#end = start + length
    this.#taken.push([start, start + length])
    return start << 2
  }

  checked(at: number, length: number): Float32Array {
    for (let word = 65536 >> 2; word < this.#end + 64; word++) {
      if (words[word] !== POISON && !this.#taken.some(([from, to]) => word >= from && word < to)) throw new Error(`word ${word} was written`)
    }
    const result = floats.slice(at >> 2, (at >> 2) + length)
    if (new Int32Array(result.buffer).includes(POISON)) throw new Error('an element was not written')
    return result
  }
}

function reference(shape: readonly number[], element: (index: number, round: (x: number) => number) => number): Reference {
  const length = shape.reduce((product, size) => product * size, 1)
  const with_ = (round: (x: number) => number) => Float64Array.from({ length }, (_, index) => element(index, round))
  return { exact: with_((x) => x), plain: with_(Math.fround), shape }
}

function packed(kernels: RowKernels, layout: Layout, weight: Float32Array, outSize: number, inSize: number): number {
  const panels = layout.room(Math.ceil(outSize / 8) * 8 * inSize)
  const raw = layout.put(weight)
  for (let row = 0; row < outSize; row += 8) kernels.packLanes(raw + row * inSize * 4, inSize, panels + row * inSize * 4, Math.min(8, outSize - row), inSize, inSize, 1)
  return panels
}

describe.each(binaries)('%s', (binary) => {
  const kernels = kernelsOf[binary]
  const random = new Random(8)
  const normals = (...shape: number[]) => normalTensor(random, shape).data

  describe('X·Wᵀ + b', () => {
    const upTo = (most: number, ...more: number[]) => [...Array.from({ length: most }, (_, index) => index + 1), ...more]
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
        kernels.linearRows(layout.put(x), rows, inSize, packed(kernels, layout, w, outSize, inSize), biased ? layout.put(bias) : 0, y, outSize, scratch)
        const should = reference([rows, outSize], (index, round) => {
          const [row, column] = [Math.floor(index / outSize), index % outSize]
          let sum = 0
          for (let k = 0; k < inSize; k++) sum = round(sum + round((x[row * inSize + k] as number) * (w[column * inSize + k] as number)))
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
        kernels.linearRows(layout.put(x.subarray(row * inSize, (row + 1) * inSize)), 1, inSize, panels, 0, alone, outSize, scratch)
        expect(bytesOf(floats.slice(alone >> 2, (alone >> 2) + outSize))).toEqual(bytesOf(together.subarray(row * outSize, (row + 1) * outSize)))
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

  describe('activations', () => {
    const count = 4003
    const inputs = Float32Array.from({ length: count }, (_, index) => (index - count / 2) / 200)
    const run = (values: Float32Array, activation: number) => {
      const layout = new Layout()
      const at = layout.put(values)
      kernels.activateRows(at, values.length, activation)
      return layout.checked(at, values.length)
    }
    test('ReLU', () => expect(run(inputs, ACTIVATION_RELU)).toEqual(inputs.map((x) => Math.max(x, 0))))
    test('GELU, exact', () => {
      const should = reference([count], (index, round) => round(round((inputs[index] as number) * 0.5) * round(1 + round(erf((inputs[index] as number) * Math.SQRT1_2)))))
      expect(run(inputs, ACTIVATION_GELU)).toMatchOracle(should)
    })
    test('GELU, tanh form', () => {
      const should = reference([count], (index, round) => {
        const x = inputs[index] as number
        return round(round(x * 0.5) * round(1 + round(Math.tanh(round(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))))))
      })
      expect(run(inputs, ACTIVATION_GELU_TANH)).toMatchOracle(should)
    })
    test.each([ACTIVATION_RELU, ACTIVATION_GELU, ACTIVATION_GELU_TANH])('NaN stays NaN, infinities go where they must: %i', (activation) => {
      const [nan, large, zero, ...rest] = run(Float32Array.of(NaN, 1e4, 0, NaN, NaN), activation)
      expect([nan, zero, ...rest]).toEqual([NaN, 0, NaN, NaN])
      expect(Math.abs((large as number) - 1e4)).toBeLessThanOrEqual(2 ** -10) // one unit in the last place
      expect(run(Float32Array.of(Infinity), activation)[0]).toBe(Infinity)
    })
  })
})

/** erf by its Taylor series below 3 and its continued fraction above, within 1e-13. */
function erf(x: number): number {
  const magnitude = Math.abs(x)
  if (magnitude > 6) return Math.sign(x)
  if (magnitude < 3) {
    let [term, sum] = [x, x]
    for (let n = 1; n < 80; n++) {
      term *= -(x * x) / n
      sum += term / (2 * n + 1)
    }
    return (2 / Math.sqrt(Math.PI)) * sum
  }
  let fraction = magnitude
  for (let n = 60; n > 0; n--) fraction = magnitude + n / 2 / fraction
  return Math.sign(x) * (1 - Math.exp(-magnitude * magnitude) / (fraction * Math.sqrt(Math.PI)))
}
