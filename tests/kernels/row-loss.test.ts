import { describe, expect, test } from 'vitest'
import { Random } from '../support/random.ts'
import { normalTensor } from '../support/tensors.ts'
import { binaries } from './kernel-lane.ts'
import {
  callRows,
  expectBits,
  input,
  output,
  reference,
  PAYLOAD_NAN,
  ROWS,
  rowOf,
  updated,
  WIDTHS,
  worstError,
} from './row-call.ts'

const IGNORED = -100

/** In float64: log Σ e^z − (1 − ε)·z_t − ε/V·Σ z, around the maximum. */
function lossOf(z: ArrayLike<number>, target: number, smoothing: number): number {
  const list = Array.from(z)
  const top = Math.max(...list)
  const first = list.indexOf(top)
  const rest = list.reduce((sum, value, c) => sum + (c === first ? 0 : Math.exp(value - top)), 0)
  const distance = (1 - smoothing) * (top - (list[target] as number))
  return (
    Math.log1p(rest) +
    distance +
    (smoothing === 0 ? 0 : (smoothing / list.length) * list.reduce((sum, value) => sum + top - value, 0))
  )
}

function logSumExpOf(z: ArrayLike<number>): number {
  const top = Math.max(...Array.from(z))
  return top + Math.log(Array.from(z).reduce((sum, value) => sum + Math.exp(value - top), 0))
}

describe.each(binaries)('%s', (binary) => {
  const random = new Random(38)
  const normals = (spread: number, ...shape: number[]) => normalTensor(random, shape, spread).data
  const targetsOf = (rows: number, size: number) => Int32Array.from({ length: rows }, () => random.integer(0, size - 1))
  const forward = (z: Float32Array, targets: Int32Array, smoothing: number) => {
    const rows = targets.length
    return callRows(
      binary,
      { z: input(z), targets: input(targets), loss: output(rows), logSumExp: output(rows) },
      (kernels, at) =>
        kernels.crossEntropyRows(at.z, rows, z.length / rows, at.targets, IGNORED, smoothing, at.loss, at.logSumExp),
    )
  }
  const backward = (
    z: Float32Array,
    targets: Int32Array,
    smoothing: number,
    logSumExp: Float32Array,
    dLoss: Float32Array,
  ) =>
    callRows(
      binary,
      { z: updated(z), targets: input(targets), logSumExp: input(logSumExp), dLoss: input(dLoss) },
      (kernels, at) =>
        kernels.crossEntropyBackwardRows(
          at.z,
          targets.length,
          z.length / targets.length,
          at.targets,
          IGNORED,
          smoothing,
          at.logSumExp,
          at.dLoss,
        ),
    ).z

  describe.each([0, Math.fround(0.1), 1])('cross-entropy, smoothing %f', (smoothing) => {
    test.each([...WIDTHS, 1000])('%i classes', (size) => {
      for (const [rows, spread] of [
        [1, 1],
        [5, 0.01],
        [65, 8],
      ] as const) {
        const [z, targets, dLoss] = [normals(spread, rows, size), targetsOf(rows, size), normals(1, rows)]
        const { loss, logSumExp } = forward(z, targets, smoothing)
        // Terms are not negative and have a relative error of a few units of 6e-8 each; z − m, up to 40, adds 40·6e-8
        // to its power.
        expect(
          worstError(loss, (r) => lossOf(rowOf(z, r, size), targets[r] as number, smoothing), true).error,
        ).toBeLessThan(spread === 8 ? 2e-6 : 6e-7)
        const exact = Float64Array.from({ length: rows }, (_, r) => logSumExpOf(rowOf(z, r, size)))
        expect(worstError(logSumExp, (r) => exact[r] as number).error).toBeLessThan(1e-6 * (1 + 8 * spread))
        const is = backward(z, targets, smoothing, logSumExp, dLoss)
        const should = (index: number) => {
          const [r, c] = [Math.floor(index / size), index % size]
          const p = Math.exp((z[index] as number) - (exact[r] as number))
          return (p - (c === targets[r] ? 1 - smoothing : 0) - smoothing / size) * (dLoss[r] as number)
        }
        // |logSumExp| up to 32 moves a probability by 32·6e-8.
        expect(worstError(is, should).error).toBeLessThan(spread === 8 ? 1e-5 : 2e-6)
      }
    })

    test.each([2, 7, 19])('the gradient over %i classes is the slope of the loss', (size) => {
      const rows = 3
      const [z, targets] = [normals(2, rows, size), targetsOf(rows, size)]
      const is = backward(
        z,
        targets,
        smoothing,
        forward(z, targets, smoothing).logSumExp,
        new Float32Array(rows).fill(1),
      )
      const h = 1e-5
      const should = (index: number) => {
        const [r, c] = [Math.floor(index / size), index % size]
        const moved = (step: number) =>
          lossOf(
            Array.from(rowOf(z, r, size), (value, at) => value + (at === c ? step : 0)),
            targets[r] as number,
            smoothing,
          )
        return (moved(h) - moved(-h)) / (2 * h)
      }
      expect(worstError(is, should).error).toBeLessThan(1e-6)
    })

    test.each(ROWS)('%i rows: bits do not depend on the tile', (rows) => {
      const size = 13
      const [z, targets, dLoss] = [normals(3, rows, size), targetsOf(rows, size), normals(1, rows)]
      targets[rows >> 1] = IGNORED
      const whole = forward(z, targets, smoothing)
      const gradient = backward(z, targets, smoothing, whole.logSumExp, dLoss)
      expect(whole.loss[rows >> 1]).toBe(0)
      expectBits(rowOf(gradient, rows >> 1, size), new Float32Array(size))
      for (let r = 0; r < rows; r++) {
        const alone = forward(rowOf(z, r, size), targets.slice(r, r + 1), smoothing)
        expectBits(alone.loss, whole.loss.slice(r, r + 1))
        expectBits(alone.logSumExp, whole.logSumExp.slice(r, r + 1))
        expectBits(
          backward(rowOf(z, r, size), targets.slice(r, r + 1), smoothing, alone.logSumExp, dLoss.slice(r, r + 1)),
          rowOf(gradient, r, size),
        )
      }
    })
  })

  test('a confident row keeps the digits of its loss, an unlikely class those of its probability down to 1e-30', () => {
    const size = 11
    for (const gap of [5, 16, 40, 69]) {
      const z = new Float32Array(size).fill(3 - gap)
      z[6] = 3
      const { loss, logSumExp } = forward(z, Int32Array.of(6), 0)
      const p = Math.exp(-gap) / (1 + (size - 1) * Math.exp(-gap))
      expect(Math.abs((loss[0] as number) / Math.log1p((size - 1) * Math.exp(-gap)) - 1)).toBeLessThan(6e-7)
      const is = backward(z, Int32Array.of(6), 0, logSumExp, Float32Array.of(1))
      is.forEach((value, c) => {
        if (c !== 6) expect(Math.abs(value / p - 1)).toBeLessThan(1e-6)
      })
    }
  })

  test('large logits, equal maxima, −∞, +∞, NaN and ignored rows', () => {
    const size = 9
    const rows = [
      Array.from({ length: size }, (_, c) => (c % 2 === 0 ? 1e30 : -1e30)),
      new Array<number>(size).fill(-1e30),
      Array.from({ length: size }, (_, c) => (c < 2 ? c : -Infinity)),
      Array.from({ length: size }, (_, c) => (c === 8 ? -Infinity : c)),
      Array.from({ length: size }, (_, c) => (c === 7 ? Infinity : c)),
      Array.from({ length: size }, (_, c) => (c === 8 ? NaN : c)),
      new Array<number>(size).fill(NaN),
      new Array<number>(size).fill(-Infinity),
      new Array<number>(size).fill(1e-41),
    ]
    const targets = Int32Array.of(0, 3, 1, 8, 2, 2, IGNORED, 0, 4)
    const { loss, logSumExp } = forward(Float32Array.from(rows.flat()), targets, 0)
    const close = [Math.log(5), Math.log(9), Math.log1p(Math.exp(-1)), Infinity, NaN, NaN, 0, NaN, Math.log(9)]
    expect(Array.from(loss, (value) => Number(value.toFixed(5)))).toEqual(
      close.map((value) => Number(value.toFixed(5))),
    )
    expect([4, 5, 7].map((r) => Number.isNaN(logSumExp[r]))).toEqual([true, true, true])
    const dz = backward(Float32Array.from(rows.flat()), targets, 0, logSumExp, new Float32Array(rows.length).fill(1))
    const finite = (r: number) => rowOf(dz, r, size).every(Number.isFinite)
    expect(rows.map((_, r) => finite(r))).toEqual([true, true, true, true, false, false, true, false, true])
    expect(rowOf(dz, 2, size).subarray(2)).toEqual(new Float32Array(7))
    expect(rowOf(dz, 6, size)).toEqual(new Float32Array(size))
    expect(rowOf(dz, 5, size)).toEqual(new Float32Array(size).fill(NaN))
    expect(dz[3 * size + 8]).toBe(-1)
    expect(
      rowOf(
        backward(new Float32Array(2 * size), Int32Array.of(0, 0), 0, Float32Array.of(1, 1), Float32Array.of(NaN, 0)),
        0,
        size,
      ),
    ).toEqual(new Float32Array(size).fill(NaN))
    expect(
      backward(
        Float32Array.of(0, 1, PAYLOAD_NAN, 2, PAYLOAD_NAN),
        Int32Array.of(0),
        0,
        Float32Array.of(2),
        Float32Array.of(1),
      ).map((value) => (Number.isNaN(value) ? 1 : 0)),
    ).toEqual(Float32Array.of(0, 0, 1, 0, 1))
    // −∞ under smoothing costs ∞, as in PyTorch
    expect(forward(Float32Array.of(0, -Infinity, 1), Int32Array.of(0), 0.1).loss[0]).toBe(Infinity)
  })

  test.each(WIDTHS)('squared error over %i elements', (width) => {
    for (const rows of [1, 64, 65]) {
      const [x, y] = [normals(1, rows, width), normals(1, rows, width)]
      const run = (a: Float32Array, b: Float32Array) =>
        callRows(binary, { a: input(a), b: input(b), loss: output(a.length / width) }, (kernels, at) =>
          kernels.squaredErrorRows(at.a, at.b, a.length / width, width, at.loss),
        ).loss
      const is = run(x, y)
      expect(is).toMatchOracle(
        reference([rows], (r, round) => {
          let sum = 0
          for (let c = r * width; c < (r + 1) * width; c++)
            sum = round(sum + round(round((x[c] as number) - (y[c] as number)) ** 2))
          return sum
        }),
      )
      expectBits(run(rowOf(x, rows - 1, width), rowOf(y, rows - 1, width)), is.slice(rows - 1))
      x[width - 1] = NaN
      expect(Array.from(run(x, y), Number.isNaN)).toEqual(Array.from({ length: rows }, (_, r) => r === 0))
    }
  })
})
