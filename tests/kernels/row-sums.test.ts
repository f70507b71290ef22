import { describe, expect, test } from 'vitest'
import { Random } from '../support/random.ts'
import { normalTensor } from '../support/tensors.ts'
import { binaries } from './kernel-lane.ts'
import { callRows, expectBits, input, output, ROWS, rowOf, updated, WIDTHS } from './row-call.ts'

describe.each(binaries)('%s', (binary) => {
  const random = new Random(33)
  const normals = (...shape: number[]) => normalTensor(random, shape).data
  const columnSums = (x: Float32Array, rows: number, width: number) =>
    callRows(binary, { x: input(x), to: output(width) }, (kernels, at) => kernels.sumColumns(at.x, rows, width, at.to))
      .to

  describe.each([0, ...ROWS])('sums over %i rows', (rows) => {
    test.each(WIDTHS)('%i columns, in row order', (width) => {
      const x = normals(rows, width)
      const should = new Float32Array(width)
      for (let r = 0; r < rows; r++)
        rowOf(x, r, width).forEach((value, c) => (should[c] = (should[c] as number) + value))
      expectBits(columnSums(x, rows, width), should)
    })
  })

  test('a NaN stays in its column', () => {
    const [rows, width] = [7, 23]
    const x = normals(rows, width)
    x[3 * width + 1] = NaN
    x[2 * width + 22] = Infinity
    x[5 * width + 22] = -Infinity
    const sums = columnSums(x, rows, width)
    sums.forEach((value, c) => expect(Number.isNaN(value)).toBe(c === 1 || c === 22))
  })

  describe.each([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 130])('%i elements', (count) => {
    const x = normals(count)
    const y = normals(count).map((value, index) => [value, NaN, Infinity, -0, 1e-41, 1e30][index % 7] ?? value)
    test.each([
      ['addRows', (a: number, b: number) => a + b],
      ['subtractRows', (a: number, b: number) => a - b],
      ['multiplyRows', (a: number, b: number) => a * b],
    ] as const)('%s', (name, operation) => {
      const is = callRows(binary, { x: input(x), y: updated(y) }, (kernels, at) => kernels[name](at.x, count, at.y)).y
      expect(is).toEqual(y.map((value, index) => operation(value, x[index] as number)))
    })
    test.each([0.1, -3, 0, 1])('scaleRows by %f', (factor) => {
      const is = callRows(binary, { y: updated(y) }, (kernels, at) => kernels.scaleRows(at.y, count, factor)).y
      expect(is).toEqual(y.map((value) => value * Math.fround(factor)))
    })
  })
})
