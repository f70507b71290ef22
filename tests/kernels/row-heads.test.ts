import { describe, expect, test } from 'vitest'
import { Random } from '../support/random.ts'
import { normalTensor } from '../support/tensors.ts'
import { binaries } from './kernel-lane.ts'
import { callRows, expectBits, input, output, reference, rowOf, updated, WIDTHS } from './row-call.ts'

const shapes = [1, 5, 64, 65].flatMap((rows) => [1, 3].map((heads) => [rows, heads] as const))

describe.each(binaries)('%s', (binary) => {
  const random = new Random(34)
  const normals = (...shape: number[]) => normalTensor(random, shape).data

  describe.each(shapes)('%i rows, %i heads', (rows, heads) => {
    test.each(WIDTHS)('head size %i: gather, add, scatter', (headSize) => {
      const length = rows * heads * headSize
      const [from, rowMajor] = [normals(heads, rows, headSize), normals(rows, heads, headSize)]
      const place = (index: number) => {
        const [r, h, c] = [
          Math.floor(index / (heads * headSize)),
          Math.floor(index / headSize) % heads,
          index % headSize,
        ]
        return (h * rows + r) * headSize + c
      }
      const gathered = Float32Array.from({ length }, (_, index) => from[place(index)] as number)
      const { to } = callRows(binary, { from: input(from), to: output(length) }, (kernels, at) =>
        kernels.gatherHeads(at.from, rows, heads, headSize, at.to, false),
      )
      expectBits(to, gathered)
      const added = callRows(binary, { from: input(from), to: updated(rowMajor) }, (kernels, at) =>
        kernels.gatherHeads(at.from, rows, heads, headSize, at.to, true),
      )
      expectBits(
        added.to,
        rowMajor.map((value, index) => value + (gathered[index] as number)),
      )
      const back = callRows(binary, { from: input(gathered), to: output(length) }, (kernels, at) =>
        kernels.scatterHeads(at.from, rows, heads, headSize, at.to),
      )
      expectBits(back.to, from)
    })
  })

  const dots = (a: Float32Array, b: Float32Array, heads: number, headSize: number) => {
    const rows = a.length / (heads * headSize)
    return callRows(binary, { a: input(a), b: input(b), to: output(rows * heads) }, (kernels, at) =>
      kernels.headDots(at.a, at.b, rows, heads, headSize, at.to),
    ).to
  }

  test.each(WIDTHS)('dot products of heads of %i', (headSize) => {
    for (const [rows, heads] of shapes) {
      const [a, b] = [normals(rows, heads * headSize), normals(rows, heads * headSize)]
      const is = dots(a, b, heads, headSize)
      expect(is).toMatchOracle(
        reference([rows, heads], (index, round) => {
          let sum = 0
          for (let c = index * headSize; c < (index + 1) * headSize; c++)
            sum = round(sum + round((a[c] as number) * (b[c] as number)))
          return sum
        }),
      )
      for (const row of [0, rows - 1]) {
        const [left, right] = [rowOf(a, row, heads * headSize), rowOf(b, row, heads * headSize)]
        expectBits(dots(left, right, heads, headSize), rowOf(is, row, heads))
      }
    }
  })

  test('NaN stays in its head of its row', () => {
    const [rows, heads, headSize] = [5, 3, 11]
    const [a, b] = [normals(rows, heads * headSize), normals(rows, heads * headSize)]
    a[(2 * heads + 1) * headSize + 10] = NaN
    b[(4 * heads + 2) * headSize] = Infinity
    a[(4 * heads + 2) * headSize] = 0
    dots(a, b, heads, headSize).forEach((value, index) =>
      expect(Number.isNaN(value)).toBe(index === 2 * heads + 1 || index === 4 * heads + 2),
    )
  })
})
