import { describe, expect, test } from 'vitest'
import {
  ACTIVATION_GELU,
  ACTIVATION_GELU_TANH,
  ACTIVATION_RELU,
  ACTIVATION_SILU,
  ACTIVATION_TANH,
} from '../../assembly/abi.ts'
import { Random } from '../support/random.ts'
import { normalTensor } from '../support/tensors.ts'
import { binaries, type Binary } from './kernel-lane.ts'
import { callRows, expectBits, input, PAYLOAD_NAN, updated, worstError } from './row-call.ts'

/**
 * Φ(−t) for t ≥ 0: ½ less a series of positive terms up to 3, its continued fraction beyond (Abramowitz and Stegun
 * 26.2.10 and .14).
 */
function upperTail(t: number): number {
  const density = Math.exp((-t * t) / 2) / Math.sqrt(2 * Math.PI)
  if (t < 3) {
    let [term, sum] = [t, t]
    for (let k = 1; k < 100; k++) {
      term *= (t * t) / (2 * k + 1)
      sum += term
    }
    return 0.5 - density * sum
  }
  let fraction = t
  for (let n = 200; n > 0; n--) fraction = t + n / fraction
  return density / fraction
}

const normalBelow = (x: number) => (x < 0 ? upperTail(-x) : 1 - upperTail(x))
const logistic = (x: number) => 1 / (1 + Math.exp(-x))
const ROOT = Math.sqrt(2 / Math.PI)

interface Activation {
  readonly name: string
  readonly code: number
  readonly f: (x: number) => number
  readonly derivative: (x: number) => number
}

const activations: readonly Activation[] = [
  { name: 'ReLU', code: ACTIVATION_RELU, f: (x) => Math.max(x, 0), derivative: (x) => (x > 0 ? 1 : 0) },
  {
    name: 'GELU',
    code: ACTIVATION_GELU,
    f: (x) => x * normalBelow(x),
    derivative: (x) => normalBelow(x) + (x * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI),
  },
  {
    name: 'GELU, tanh form',
    code: ACTIVATION_GELU_TANH,
    f: (x) => x * logistic(2 * ROOT * (x + 0.044715 * x ** 3)),
    derivative: (x) => {
      const s = logistic(2 * ROOT * (x + 0.044715 * x ** 3))
      return s + 2 * x * ROOT * (1 + 3 * 0.044715 * x * x) * s * logistic(-2 * ROOT * (x + 0.044715 * x ** 3))
    },
  },
  {
    name: 'SiLU',
    code: ACTIVATION_SILU,
    f: (x) => x * logistic(x),
    derivative: (x) => logistic(x) * (1 + x * logistic(-x)),
  },
  { name: 'tanh', code: ACTIVATION_TANH, f: Math.tanh, derivative: (x) => 1 / Math.cosh(x) ** 2 },
]

function slopes(
  binary: Binary,
  code: number,
  x: Float32Array,
  dy: Float32Array = new Float32Array(x.length).fill(1),
): Float32Array {
  return callRows(binary, { x: input(x), dy: updated(dy) }, (kernels, at) =>
    kernels.activateBackwardRows(at.x, x.length, code, at.dy),
  ).dy
}

/** Dense where the derivative bends, and every power of two of float32 with both signs. */
const dense = Float32Array.from({ length: 24_001 }, (_, index) => (index - 12_000) / 800)
const powers = Float32Array.from(
  { length: 2 * 277 },
  (_, index) => (index % 2 === 0 ? 1 : -1) * 1.37 * 2 ** ((index >> 1) - 149),
)

describe.each(binaries)('%s', (binary) => {
  describe.each(activations)('$name', ({ code, f, derivative }) => {
    test('f′ within 2e-7 of float64 over the whole range', () => {
      for (const x of [dense, powers]) {
        const { error, index } = worstError(slopes(binary, code, x), (at) => derivative(x[at] as number))
        expect(error, `at ${x[index]}`).toBeLessThan(2e-7)
      }
    })

    test('the reference is the slope of f', () => {
      const h = 1e-4
      for (let x = -6.03; x < 6; x += 0.01) {
        if (code === ACTIVATION_RELU && Math.abs(x) < 2 * h) continue
        expect(Math.abs((f(x + h) - f(x - h)) / (2 * h) - derivative(x))).toBeLessThan(1e-7)
      }
    })

    test.each([1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 64, 130])('%i elements, any place, the same bits; times dy', (count) => {
      const random = new Random(count)
      const [x, dy] = [normalTensor(random, [count], 3).data, normalTensor(random, [count]).data]
      const result = slopes(binary, code, x, dy)
      const ones = slopes(binary, code, x)
      expectBits(
        result,
        dy.map((value, index) => value * (ones[index] as number)),
      )
      for (let at = 0; at < count; at++)
        expectBits(slopes(binary, code, x.slice(at, at + 1), dy.slice(at, at + 1)), result.slice(at, at + 1))
    })

    test('NaN, infinities, zeros and subnormal numbers', () => {
      const atZero = { [ACTIVATION_RELU]: 0, [ACTIVATION_TANH]: 1 }[code] ?? 0.5
      const atInfinity = code === ACTIVATION_TANH ? 0 : 1
      const is = slopes(binary, code, Float32Array.of(NaN, Infinity, -Infinity, 0, -0, PAYLOAD_NAN, -1e-41))
      expect(Array.from(is, (value) => value + 0)).toEqual([NaN, atInfinity, 0, atZero, atZero, NaN, atZero])
      expect([...slopes(binary, code, Float32Array.of(1, 1, 1), Float32Array.of(NaN, Infinity, 0))]).toEqual([
        NaN,
        Infinity,
        0,
      ])
    })
  })

  test('tails keep their digits: relative error below 2e-5 down to 1e-30', () => {
    for (const { code, derivative } of activations.slice(1)) {
      const x = Float32Array.from({ length: 2000 }, (_, index) => -3 - index / 100).filter(
        (at) => Math.abs(derivative(at)) > 1e-30,
      )
      const { error, index } = worstError(slopes(binary, code, x), (at) => derivative(x[at] as number), true)
      expect(error, `at ${x[index]}`).toBeLessThan(2e-5)
    }
  })

  test('SiLU forward: relative error below 4e-7 down to −87, right at the ends', () => {
    const run = (x: Float32Array) =>
      callRows(binary, { x: updated(x) }, (kernels, at) => kernels.activateRows(at.x, x.length, ACTIVATION_SILU)).x
    const x = Float32Array.from({ length: 17_000 }, (_, index) => index / 100 - 87)
    const { error, index } = worstError(run(x), (at) => (x[at] as number) * logistic(x[at] as number), true)
    expect(error, `at ${x[index]}`).toBeLessThan(4e-7)
    expect([...run(Float32Array.of(PAYLOAD_NAN, Infinity, 0, 1e30, 1e-41))]).toEqual([
      NaN,
      Infinity,
      0,
      Math.fround(1e30),
      Math.fround(Math.fround(1e-41) / 2),
    ])
    for (const value of run(Float32Array.of(-Infinity, -1e30, -100))) expect(Math.abs(value)).toBeLessThan(1e-36)
    for (const length of [1, 2, 3, 5, 9]) expectBits(run(x.slice(0, length)), run(x).slice(0, length))
  })
})
