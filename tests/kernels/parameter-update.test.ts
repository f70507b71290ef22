import { describe, expect, test } from 'vitest'
import { Random } from '../support/random.ts'
import { normalTensor } from '../support/tensors.ts'
import { binaries } from './kernel-lane.ts'
import { callRows, expectBits, input, output, updated } from './row-call.ts'

const { fround, sqrt } = Math
const COUNTS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 64, 130]

interface Adam {
  readonly name: string
  readonly rate: number
  readonly beta1: number
  readonly beta2: number
  readonly epsilon: number
  readonly weightDecay: number
  readonly decoupled: boolean
}

/** What the caller of the kernel computes in float64, per step. */
function factorsOf({ rate, beta1, beta2, epsilon, weightDecay, decoupled }: Adam, step: number) {
  return [
    decoupled ? 1 - rate * weightDecay : 1,
    decoupled ? 0 : weightDecay,
    beta1,
    1 - beta1,
    beta2,
    1 - beta2,
    rate / (1 - beta1 ** step),
    sqrt(1 - beta2 ** step),
    epsilon,
  ].map(fround) as [number, number, number, number, number, number, number, number, number]
}

interface AdamState {
  p: Float32Array
  m: Float32Array
  v: Float32Array
}

/** PyTorch's order, each operation rounded by `round`. */
function adam(
  { p, m, v }: AdamState,
  g: Float32Array,
  factors: ReturnType<typeof factorsOf>,
  round: (x: number) => number,
): { [Name in keyof AdamState]: number[] } {
  const [shrink, weightDecay, beta1, beta1Rest, beta2, beta2Rest, stepSize, correction, epsilon] = factors
  const result = { p: [] as number[], m: [] as number[], v: [] as number[] }
  p.forEach((parameter, index) => {
    const d = round((g[index] as number) + round(weightDecay * parameter))
    const first = round(round((m[index] as number) * beta1) + round(beta1Rest * d))
    const second = round(round((v[index] as number) * beta2) + round(round(beta2Rest * d) * d))
    const below = round(round(round(sqrt(second)) / correction) + epsilon)
    result.m.push(first)
    result.v.push(second)
    result.p.push(round(round(parameter * shrink) - round(round(stepSize * first) / below)))
  })
  return result
}

const adams: readonly Adam[] = [
  { name: 'Adam', rate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, decoupled: false },
  {
    name: 'Adam with weight decay',
    rate: 0.01,
    beta1: 0.8,
    beta2: 0.95,
    epsilon: 1e-6,
    weightDecay: 0.1,
    decoupled: false,
  },
  { name: 'AdamW', rate: 3e-4, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, decoupled: true },
]

describe.each(binaries)('%s', (binary) => {
  const random = new Random(39)
  const normals = (count: number) => normalTensor(random, [count]).data

  describe.each(adams)('$name', (setting) => {
    const step = ({ p, m, v }: AdamState, g: Float32Array, factors: ReturnType<typeof factorsOf>): AdamState => {
      const count = p.length
      const operands = {
        p: input(p),
        g: input(g),
        m: input(m),
        v: input(v),
        pOut: output(count),
        mOut: output(count),
        vOut: output(count),
      }
      const beside = callRows(binary, operands, (kernels, at) =>
        kernels.adamUpdate(count, at.p, at.g, at.m, at.v, at.pOut, at.mOut, at.vOut, ...factors),
      )
      const inPlace = callRows(binary, { p: updated(p), g: input(g), m: updated(m), v: updated(v) }, (kernels, at) =>
        kernels.adamUpdate(count, at.p, at.g, at.m, at.v, at.p, at.m, at.v, ...factors),
      )
      for (const name of ['p', 'm', 'v'] as const) expectBits(inPlace[name], beside[`${name}Out`])
      return { p: beside.pOut, m: beside.mOut, v: beside.vOut }
    }

    test.each(COUNTS)('%i elements, five steps: the bits of plain float32 code, near float64', (count) => {
      let state: AdamState = { p: normals(count), m: new Float32Array(count), v: new Float32Array(count) }
      for (let t = 1; t <= 5; t++) {
        const [g, factors] = [normals(count), factorsOf(setting, t)]
        const [plain, exact] = [adam(state, g, factors, fround), adam(state, g, factors, (x) => x)]
        const next = step(state, g, factors)
        for (const name of ['p', 'm', 'v'] as const) {
          expectBits(next[name], Float32Array.from(plain[name]))
          next[name].forEach((value, index) =>
            expect(Math.abs(value - (exact[name][index] as number))).toBeLessThan(1e-6),
          )
        }
        state = next
      }
    })

    test('NaN, infinities and subnormal gradients stay with their element', () => {
      const state = { p: normals(7), m: new Float32Array(7), v: new Float32Array(7) }
      const g = Float32Array.of(1, NaN, Infinity, 1e-41, 0, 1e30, -1)
      const next = step(state, g, factorsOf(setting, 1))
      const plain = adam(state, g, factorsOf(setting, 1), fround)
      for (const name of ['p', 'm', 'v'] as const) expect(next[name]).toEqual(Float32Array.from(plain[name]))
      expect(Array.from(next.p, Number.isNaN)).toEqual([false, true, true, false, false, false, false])
    })
  })

  describe.each([
    { momentum: 0, dampening: 0, nesterov: false, weightDecay: 0 },
    { momentum: 0, dampening: 0, nesterov: false, weightDecay: 0.1 },
    { momentum: 0.9, dampening: 0, nesterov: false, weightDecay: 0 },
    { momentum: 0.9, dampening: 0.3, nesterov: false, weightDecay: 0.01 },
    { momentum: 0.8, dampening: 0, nesterov: true, weightDecay: 0.01 },
  ])(
    'SGD, momentum $momentum, dampening $dampening, nesterov $nesterov, weight decay $weightDecay',
    ({ momentum, dampening, nesterov, weightDecay }) => {
      const factors = [0.1, momentum, 1 - dampening, weightDecay].map(fround) as [number, number, number, number]
      test.each(COUNTS)('%i elements, three steps: the bits of plain float32 code', (count) => {
        let [p, b]: [Float32Array, Float32Array] = [normals(count), new Float32Array(count)]
        for (const first of [true, false, false]) {
          const g = normals(count)
          // Not read in the first step.
          const start = first ? new Float32Array(count).fill(NaN) : b
          const [should, buffer] = sgd(p, g, start, factors, nesterov, first)
          const bOut = momentum === 0 ? input(start) : output(count)
          const beside = callRows(
            binary,
            { p: input(p), g: input(g), b: input(start), pOut: output(count), bOut },
            (kernels, at) => kernels.sgdUpdate(count, at.p, at.g, at.b, at.pOut, at.bOut, ...factors, nesterov, first),
          )
          const inPlace = callRows(binary, { p: updated(p), g: input(g), b: updated(start) }, (kernels, at) =>
            kernels.sgdUpdate(count, at.p, at.g, at.b, at.p, at.b, ...factors, nesterov, first),
          )
          expectBits(beside.pOut, should)
          expectBits(inPlace.p, should)
          if (momentum !== 0) for (const is of [beside.bOut, inPlace.b]) expectBits(is, buffer)
          ;[p, b] = [should, buffer]
        }
      })
    },
  )
})

function sgd(
  p: Float32Array,
  g: Float32Array,
  b: Float32Array,
  factors: readonly number[],
  nesterov: boolean,
  first: boolean,
): [Float32Array, Float32Array] {
  const [rate = 0, momentum = 0, undamped = 0, weightDecay = 0] = factors
  const d = p.map((parameter, index) => (g[index] as number) + fround(weightDecay * parameter))
  const buffer = d.map((value, index) =>
    first ? value : fround((b[index] as number) * momentum) + fround(undamped * value),
  )
  const withMomentum = nesterov ? d.map((value, index) => value + fround(momentum * (buffer[index] as number))) : buffer
  const direction = momentum === 0 ? d : withMomentum
  return [p.map((parameter, index) => parameter - fround(rate * (direction[index] as number))), buffer]
}
