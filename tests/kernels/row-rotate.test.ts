import { describe, expect, test } from 'vitest'
import { Random } from '../support/random.ts'
import { normalTensor } from '../support/tensors.ts'
import { binaries } from './kernel-lane.ts'
import { callRows, expectBits, input, rowOf, updated } from './row-call.ts'

function anglesOf(random: Random, rows: number, headSize: number): Float32Array {
  const turns = Array.from({ length: (rows * headSize) / 2 }, () => random.normal() * 100)
  return Float32Array.from({ length: rows * headSize }, (_, index) => {
    const [row, c, half] = [Math.floor(index / headSize), index % headSize, headSize / 2]
    return (c < half ? Math.cos : Math.sin)(turns[row * half + (c % half)] as number)
  })
}

/** The loop that stages had in JavaScript: products rounded to float32, sums in float64 rounded as they are stored. */
function rotated(
  x: Float32Array,
  width: number,
  headSize: number,
  angles: Float32Array,
  direction: number,
): Float32Array {
  const half = headSize / 2
  return x.map((value, index) => {
    const [row, c] = [Math.floor(index / width), index % headSize]
    const [cosine, sine] = [
      angles[row * headSize + (c % half)] as number,
      (angles[row * headSize + half + (c % half)] as number) * direction,
    ]
    return c < half
      ? Math.fround(value * cosine) - Math.fround((x[index + half] as number) * sine)
      : Math.fround(value * cosine) + Math.fround((x[index - half] as number) * sine)
  })
}

describe.each(binaries)('%s', (binary) => {
  const random = new Random(37)
  const normals = (...shape: number[]) => normalTensor(random, shape).data
  const rotate = (
    x: Float32Array,
    width: number,
    headSize: number,
    angles: Float32Array,
    direction: 1 | -1,
    turned = headSize,
  ) =>
    callRows(binary, { x: updated(x), angles: input(angles) }, (kernels, at) =>
      kernels.rotateRows(at.x, x.length / width, width, headSize, turned, at.angles, direction),
    ).x

  test.each([2, 4, 6, 8, 10, 12, 14, 16, 18, 30, 64, 128, 130])(
    'head size %i: the bits of the plain loop, both ways',
    (headSize) => {
      for (const [rows, heads] of [
        [1, 1],
        [3, 2],
        [64, 1],
        [65, 3],
      ] as const) {
        const [width, angles] = [heads * headSize, anglesOf(random, rows, headSize)]
        const x = normals(rows, width)
        const turned = rotate(x, width, headSize, angles, 1)
        expectBits(turned, rotated(x, width, headSize, angles, 1))
        const back = rotate(turned, width, headSize, angles, -1)
        expectBits(back, rotated(turned, width, headSize, angles, -1))
        back.forEach((value, index) => {
          if (Math.abs(value - (x[index] as number)) > 2e-6) throw new Error(`element ${index} did not turn back`)
        })
        expectBits(
          rotate(rowOf(x, rows - 1, width), width, headSize, rowOf(angles, rows - 1, headSize), 1),
          rowOf(turned, rows - 1, width),
        )
      }
    },
  )

  test.each([
    [8, 2],
    [12, 10],
    [64, 16],
    [80, 32],
    [30, 14],
  ])('of heads of %i elements the first %i turn, the others stay', (headSize, turned) => {
    for (const [rows, heads] of [
      [1, 1],
      [3, 2],
      [65, 3],
    ] as const) {
      const [width, angles] = [heads * headSize, anglesOf(random, rows, turned)]
      const x = normals(rows, width)
      const part = (at: number) => at % headSize < turned
      const whole = rotated(
        x.filter((_, at) => part(at)),
        heads * turned,
        turned,
        angles,
        1,
      )
      let next = 0
      expectBits(
        rotate(x, width, headSize, angles, 1, turned),
        x.map((value, at) => (part(at) ? (whole[next++] as number) : value)),
      )
    }
  })

  test('⟨y, R·x⟩ = ⟨R′·y, x⟩', () => {
    const [rows, headSize, width] = [9, 22, 66]
    const [x, y, angles] = [normals(rows, width), normals(rows, width), anglesOf(random, rows, headSize)]
    const dot = (a: Float32Array, b: Float32Array) =>
      a.reduce((sum, value, index) => sum + value * (b[index] as number), 0)
    expect(dot(y, rotate(x, width, headSize, angles, 1))).toBeCloseTo(dot(rotate(y, width, headSize, angles, -1), x), 4)
  })

  test('extremes: NaN stays in its pair, rounding of large and subnormal products is that of float32', () => {
    const [headSize, width] = [10, 20]
    const angles = anglesOf(random, 4, headSize)
    const x = normals(4, width)
    x[3] = NaN
    x[width + 7] = Infinity
    x.set([1e30, -1e30, 3e38, 1e-41, -1e-45, -0, 0, 3e38, 1e-41, -1e30], 2 * width)
    const is = rotate(x, width, headSize, angles, 1)
    expect(is).toEqual(rotated(x, width, headSize, angles, 1))
    is.forEach((value, index) => expect(Number.isNaN(value)).toBe(index === 3 || index === 8))
  })
})
