import { describe, expect, test } from 'vitest'
import { Random } from '../support/random.ts'
import { normalTensor } from '../support/tensors.ts'
import { binaries } from './kernel-lane.ts'
import { callRows, expectBits, input, output, ROWS, rowOf, rowReference, updated, WIDTHS } from './row-call.ts'

const EPSILON = Math.fround(1e-5)
type Round = (x: number) => number
const exactly: Round = (x) => x
const sum = (values: readonly number[], round: Round) => values.reduce((total, value) => round(total + value), 0)

interface Normalised {
  readonly hat: number[]
  readonly inverse: number
}

function layerNormalised(x: ArrayLike<number>, round: Round): Normalised {
  const size = x.length
  const mean = round(sum(Array.from(x), round) / size)
  const variance = round(
    sum(
      Array.from(x, (value) => round(round(value - mean) ** 2)),
      round,
    ) / size,
  )
  const inverse = round(1 / round(Math.sqrt(round(variance + EPSILON))))
  return { inverse, hat: Array.from(x, (value) => round(round(value - mean) * inverse)) }
}

function rmsNormalised(x: ArrayLike<number>, round: Round): Normalised {
  const meanSquare = round(
    sum(
      Array.from(x, (value) => round(value ** 2)),
      round,
    ) / x.length,
  )
  const inverse = round(1 / round(Math.sqrt(round(meanSquare + EPSILON))))
  return { inverse, hat: Array.from(x, (value) => round(value * inverse)) }
}

interface Norm {
  readonly name: string
  readonly normalised: (x: ArrayLike<number>, round: Round) => Normalised
  readonly centred: boolean
  readonly normalise: 'normaliseRows' | 'rmsNormaliseRows'
  readonly backward: 'normBackwardRows' | 'rmsNormBackwardRows'
}

const norms: readonly Norm[] = [
  {
    name: 'layer norm',
    normalised: layerNormalised,
    centred: true,
    normalise: 'normaliseRows',
    backward: 'normBackwardRows',
  },
  {
    name: 'RMS norm',
    normalised: rmsNormalised,
    centred: false,
    normalise: 'rmsNormaliseRows',
    backward: 'rmsNormBackwardRows',
  },
]

/** dx in closed form. */
function gradientThrough(
  { normalised, centred }: Norm,
  x: ArrayLike<number>,
  g: readonly number[],
  round: Round,
): number[] {
  const { hat, inverse } = normalised(x, round)
  const meanGradient = centred ? round(sum(g, round) / g.length) : 0
  const meanProduct = round(
    sum(
      g.map((value, c) => round(value * (hat[c] as number))),
      round,
    ) / g.length,
  )
  return g.map((value, c) =>
    round(round(round(value - meanGradient) - round((hat[c] as number) * meanProduct)) * inverse),
  )
}

/** Σ g·x̂(x) moved by ±h in each element, in float64. */
function finiteDifferences(
  x: ArrayLike<number>,
  g: readonly number[],
  normalised: (x: ArrayLike<number>, round: Round) => Normalised,
): number[] {
  const h = 1e-5
  const loss = (c: number, step: number) => {
    const moved = Array.from(x, (value, at) => value + (at === c ? step : 0))
    return normalised(moved, exactly).hat.reduce((total, hat, at) => total + hat * (g[at] as number), 0)
  }
  return g.map((_, c) => (loss(c, h) - loss(c, -h)) / (2 * h))
}

describe.each(binaries)('%s', (binary) => {
  const random = new Random(21)
  const normals = (...shape: number[]) => normalTensor(random, shape).data
  const gradientOf = (dy: Float32Array, w: Float32Array | undefined, round: Round) =>
    Array.from(dy, (value, c) => round(value * (w?.[c] ?? 1)))

  describe.each(norms)('$name', (norm) => {
    const backward = (x: Float32Array, dy: Float32Array, size: number, w?: Float32Array) =>
      callRows(
        binary,
        { x: input(x), dy: input(dy), dx: output(x.length), w: input(w ?? new Float32Array(0)) },
        (kernels, at) => kernels[norm.backward](at.x, at.dy, x.length / size, size, w ? at.w : 0, EPSILON, at.dx),
      ).dx

    test.each(WIDTHS)('x̂ of %i elements', (size) => {
      const rows = 3
      const x = normals(rows, size).map((value) => 3 * value + 5)
      const { y } = callRows(binary, { x: input(x), y: output(x.length) }, (kernels, at) =>
        kernels[norm.normalise](at.x, rows, size, EPSILON, at.y),
      )
      expect(y).toMatchOracle(rowReference(rows, size, (r, round) => norm.normalised(rowOf(x, r, size), round).hat))
      const [ones, zeros] = [new Float32Array(size).fill(1), new Float32Array(size)]
      const forward = callRows(
        binary,
        { x: input(x), w: input(ones), b: input(zeros), y: output(x.length) },
        (kernels, at) =>
          norm.centred
            ? kernels.normRows(at.x, rows, size, at.w, at.b, EPSILON, at.y)
            : kernels.rmsNormRows(at.x, rows, size, at.w, EPSILON, at.y),
      )
      expect(y).toEqual(forward.y)
      const { inPlace } = callRows(binary, { inPlace: updated(x) }, (kernels, at) =>
        kernels[norm.normalise](at.inPlace, rows, size, EPSILON, at.inPlace),
      )
      expectBits(inPlace, y)
    })

    test.each(WIDTHS)('gradient over %i elements', (size) => {
      const rows = 3
      const [x, dy, w] = [normals(rows, size).map((value) => 2 * value - 1), normals(rows, size), normals(size)]
      for (const weight of [w, undefined]) {
        const should = rowReference(rows, size, (r, round) =>
          gradientThrough(norm, rowOf(x, r, size), gradientOf(rowOf(dy, r, size), weight, round), round),
        )
        expect(backward(x, dy, size, weight)).toMatchOracle(should)
        const differences = rowReference(rows, size, (r) =>
          finiteDifferences(rowOf(x, r, size), gradientOf(rowOf(dy, r, size), weight, exactly), norm.normalised),
        )
        // The steps' own error is about 1e-9, times 1/√epsilon where the variance is small.
        should.exact.forEach((value, index) =>
          expect(Math.abs(value - (differences.exact[index] as number))).toBeLessThan(1e-6),
        )
      }
    })

    test.each(ROWS)('%i rows: bits do not depend on the tile, dx may be dy or x', (rows) => {
      const size = 13
      const [x, dy, w] = [normals(rows, size), normals(rows, size), normals(size)]
      const whole = backward(x, dy, size, w)
      for (let row = 0; row < rows; row++)
        expectBits(backward(rowOf(x, row, size), rowOf(dy, row, size), size, w), rowOf(whole, row, size))
      const overDy = callRows(binary, { x: input(x), dy: updated(dy), w: input(w) }, (kernels, at) =>
        kernels[norm.backward](at.x, at.dy, rows, size, at.w, EPSILON, at.dy),
      )
      const overX = callRows(binary, { x: updated(x), dy: input(dy), w: input(w) }, (kernels, at) =>
        kernels[norm.backward](at.x, at.dy, rows, size, at.w, EPSILON, at.x),
      )
      expectBits(overDy.dy, whole)
      expectBits(overX.x, whole)
    })

    test('a row with NaN or infinity is NaN, others keep their bits; constant, tiny and huge rows are finite', () => {
      const [rows, size] = [8, 11]
      const [x, dy] = [normals(rows, size), normals(rows, size)]
      const plain = backward(x, dy, size)
      x[size] = NaN
      x[2 * size + 10] = Infinity
      dy[3 * size + 4] = NaN
      x.fill(0, 4 * size, 5 * size)
      x.fill(1e-41, 5 * size, 5 * size + 4)
      x.fill(-1e-41, 5 * size + 4, 6 * size)
      for (let c = 0; c < size; c++) x[6 * size + c] = (c % 2 === 0 ? 1 : -1) * 1e30
      const dx = backward(x, dy, size)
      for (const row of [1, 2, 3]) expect(rowOf(dx, row, size)).toEqual(new Float32Array(size).fill(NaN))
      for (const row of [0, 7]) expectBits(rowOf(dx, row, size), rowOf(plain, row, size))
      for (const row of [4, 5, 6]) {
        const should = rowReference(1, size, (_, round) =>
          gradientThrough(norm, rowOf(x, row, size), Array.from(rowOf(dy, row, size)), round),
        )
        expect(rowOf(dx, row, size)).toMatchOracle(should)
      }
    })
  })

  test.each(WIDTHS)('RMS norm of %i elements', (size) => {
    const rows = 3
    const [x, w] = [normals(rows, size).map((value) => 3 * value + 1), normals(size)]
    for (const weight of [w, undefined]) {
      const run = (from: Float32Array) =>
        callRows(binary, { from: input(from), w: input(w), y: output(from.length) }, (kernels, at) =>
          kernels.rmsNormRows(at.from, from.length / size, size, weight ? at.w : 0, EPSILON, at.y),
        ).y
      const y = run(x)
      expect(y).toMatchOracle(
        rowReference(rows, size, (r, round) =>
          rmsNormalised(rowOf(x, r, size), round).hat.map((hat, c) => round(hat * (weight?.[c] ?? 1))),
        ),
      )
      expectBits(run(rowOf(x, 2, size)), rowOf(y, 2, size))
      x[size] = NaN
      expect(Array.from(run(x), Number.isNaN)).toEqual(
        Array.from({ length: rows * size }, (_, index) => Math.floor(index / size) === 1),
      )
      x[size] = 1
    }
  })
})
