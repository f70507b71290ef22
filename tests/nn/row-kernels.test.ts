import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { ACTIVATION_GELU, ACTIVATION_GELU_TANH, ACTIVATION_RELU } from '../../assembly/abi.ts'
import type { RowKernels } from '../../src/backends/wasm/stage-memory.ts'
import { Random } from '../support/random.ts'

/** Bytes around every buffer that no kernel may touch. */
const GUARD = 64
const POISON = 0x7fc0dead

/** A memory in which each buffer stands between poisoned guards. */
class GuardedMemory {
  readonly kernels: RowKernels
  readonly #floats: Float32Array
  readonly #words: Uint32Array
  readonly #buffers: { start: number; length: number }[] = []
  #next = 8192

  constructor(binary: string) {
    const memory = new WebAssembly.Memory({ initial: 64 })
    const module = new WebAssembly.Module(readFileSync(new URL(`../../build/heddle-${binary}.wasm`, import.meta.url)))
    this.kernels = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as RowKernels
    this.#floats = new Float32Array(memory.buffer)
    this.#words = new Uint32Array(memory.buffer)
    this.#words.fill(POISON, this.#next >> 2)
  }

  /** The address of `length` floats, 16-byte aligned; the end has no padding, so that an overrun meets the guard. */
  place(length: number, values?: ArrayLike<number>): number {
    const start = this.#next + GUARD
    if (values !== undefined) this.#floats.set(values, start >> 2)
    this.#buffers.push({ start, length })
    this.#next = Math.ceil((start + length * 4 + GUARD) / 16) * 16
    return start
  }

  read(address: number, length: number): Float32Array {
    return this.#floats.slice(address >> 2, (address >> 2) + length)
  }

  expectGuardsIntact(): void {
    const inside = (word: number): boolean => this.#buffers.some(({ start, length }) => word >= start >> 2 && word < (start >> 2) + length)
    for (let word = 8192 >> 2; word < this.#next >> 2; word++) if (!inside(word) && this.#words[word] !== POISON) throw new Error(`a kernel wrote at ${word * 4}`)
  }
}

const normals = (random: Random, count: number): Float32Array => Float32Array.from({ length: count }, () => random.normal())

function worst(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let error = 0
  for (let index = 0; index < expected.length; index++) {
    const difference = Math.abs(actual[index]! - expected[index]!)
    error = Math.max(error, Number.isNaN(difference) ? Infinity : difference)
  }
  return error
}

function linear(binary: string, x: Float32Array, rows: number, inSize: number, weight: Float32Array, bias: Float32Array | null, outSize: number): Float32Array {
  const memory = new GuardedMemory(binary)
  const panels = Math.ceil(outSize / 8)
  const packed = memory.place(panels * 8 * inSize)
  const raw = memory.place(outSize * inSize, weight)
  for (let panel = 0; panel < panels; panel++) {
    memory.kernels.packPanel(raw + panel * 8 * inSize * 4, inSize, Math.min(8, outSize - panel * 8), packed + panel * 8 * inSize * 4)
  }
  const padded = new Float32Array(panels * 8)
  if (bias !== null) padded.set(bias)
  const biasAt = bias === null ? 0 : memory.place(padded.length, padded)
  const from = memory.place(rows * inSize, x)
  const to = memory.place(rows * outSize)
  memory.kernels.linearRows(from, rows, inSize, packed, biasAt, to, outSize)
  memory.expectGuardsIntact()
  return memory.read(to, rows * outSize)
}

describe.each(['simd', 'relaxed'].filter((binary) => binary === 'simd' || relaxedRuns()))('%s kernels', (binary) => {
  it('linear is X·Wᵀ + b for every remainder of rows, inputs and outputs', () => {
    const random = new Random(11)
    for (const rows of [1, 2, 3, 4, 5, 7, 8, 9]) {
      for (const inSize of [1, 2, 3, 5, 17]) {
        for (const outSize of [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17]) {
          const [x, weight, bias] = [normals(random, rows * inSize), normals(random, outSize * inSize), normals(random, outSize)]
          const actual = linear(binary, x, rows, inSize, weight, bias, outSize)
          const expected = Array.from({ length: rows * outSize }, (_, index) => {
            const [row, output] = [Math.floor(index / outSize), index % outSize]
            let sum = 0
            for (let k = 0; k < inSize; k++) sum += x[row * inSize + k]! * weight[output * inSize + k]!
            return sum + bias[output]!
          })
          expect(worst(actual, expected), `${rows} × ${inSize} → ${outSize}`).toBeLessThan(1e-5)
        }
      }
    }
  })

  it('a row of linear does not depend on the rows beside it', () => {
    const random = new Random(12)
    const [rows, inSize, outSize] = [11, 37, 21]
    const [x, weight] = [normals(random, rows * inSize), normals(random, outSize * inSize)]
    const together = linear(binary, x, rows, inSize, weight, null, outSize)
    for (let row = 0; row < rows; row++) {
      const alone = linear(binary, x.slice(row * inSize, (row + 1) * inSize), 1, inSize, weight, null, outSize)
      expect(alone).toEqual(together.slice(row * outSize, (row + 1) * outSize))
    }
  })

  it('norm has mean 0 and variance 1 before its weight and bias, for every size', () => {
    const random = new Random(13)
    for (let size = 1; size <= 21; size++) {
      for (const rows of [1, 3]) {
        const memory = new GuardedMemory(binary)
        const [x, weight, bias] = [normals(random, rows * size), normals(random, size), normals(random, size)]
        const [xAt, weightAt, biasAt, yAt] = [memory.place(rows * size, x), memory.place(size, weight), memory.place(size, bias), memory.place(rows * size)]
        memory.kernels.normRows(xAt, rows, size, weightAt, biasAt, 1e-5, yAt)
        memory.expectGuardsIntact()
        const expected = Array.from(x, (value, index) => {
          const row = [...x.subarray(Math.floor(index / size) * size, Math.floor(index / size) * size + size)]
          const mean = row.reduce((sum, other) => sum + other, 0) / size
          const variance = row.reduce((sum, other) => sum + (other - mean) ** 2, 0) / size
          return ((value - mean) / Math.sqrt(variance + 1e-5)) * weight[index % size]! + bias[index % size]!
        })
        // A row of two nearly equal values is divided by a small deviation: the error of the mean grows with it.
        expect(worst(memory.read(yAt, rows * size), expected), `size ${size}`).toBeLessThan(2e-5)
        const inPlace = memory.read(yAt, rows * size)
        memory.kernels.normRows(xAt, rows, size, weightAt, biasAt, 1e-5, xAt)
        expect(memory.read(xAt, rows * size)).toEqual(inPlace)
      }
    }
  })

  it('add is exact for every remainder', () => {
    const random = new Random(14)
    for (let count = 1; count <= 13; count++) {
      const memory = new GuardedMemory(binary)
      const [x, y] = [normals(random, count), normals(random, count)]
      const [xAt, yAt] = [memory.place(count, x), memory.place(count, y)]
      memory.kernels.addRows(xAt, count, yAt)
      memory.expectGuardsIntact()
      expect(memory.read(yAt, count)).toEqual(Float32Array.from(x, (value, index) => value + y[index]!))
    }
  })

  const activations = [
    ['ReLU', ACTIVATION_RELU, (x: number) => Math.max(0, x)],
    ['GELU', ACTIVATION_GELU, (x: number) => 0.5 * x * (1 + erf(x / Math.SQRT2))],
    ['GELU tanh', ACTIVATION_GELU_TANH, (x: number) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))],
  ] as const
  it.each(activations)('%s follows its formula, its tails too', (_name, activation, formula) => {
    for (const count of [1, 2, 3, 4, 5, 4001]) {
      const x = Float32Array.from({ length: count }, (_, index) => (count < 10 ? index - 1.5 : -10 + index * 0.005))
      const memory = new GuardedMemory(binary)
      const at = memory.place(count, x)
      memory.kernels.activateRows(at, count, activation)
      memory.expectGuardsIntact()
      // The largest |x| is 10: half a unit in the last place there is 5e-7, and erf adds 4e-7 of x/2.
      expect(worst(memory.read(at, count), Array.from(x, formula))).toBeLessThan(2e-6)
    }
  })

  it.each(activations)('%s keeps NaN and infinity', (_name, activation) => {
    const memory = new GuardedMemory(binary)
    const at = memory.place(5, [NaN, Infinity, 1, NaN, NaN])
    memory.kernels.activateRows(at, 5, activation)
    const [first, second, third, , fifth] = memory.read(at, 5)
    expect(first).toBeNaN()
    expect(second).toBe(Infinity)
    expect(third).toBeGreaterThan(0.8)
    expect(fifth).toBeNaN()
  })
})

/** erf by its Taylor series near 0 and its continued fraction beyond, in float64. */
function erf(x: number): number {
  const size = Math.abs(x)
  if (size < 2.5) {
    let [term, sum] = [size, size]
    for (let n = 1; n < 60; n++) {
      term *= (-size * size) / n
      sum += term / (2 * n + 1)
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI)
  }
  let fraction = 0
  for (let n = 60; n >= 1; n--) fraction = n / 2 / (size + fraction)
  return Math.sign(x) * (1 - Math.exp(-size * size) / Math.sqrt(Math.PI) / (size + fraction))
}

function relaxedRuns(): boolean {
  return WebAssembly.validate(readFileSync(new URL('../../build/heddle-relaxed.wasm', import.meta.url)))
}
