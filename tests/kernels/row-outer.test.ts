import { describe, expect, test } from 'vitest'
import { linearScratchBytes } from '../../src/plan/stage-arena.ts'
import { Random } from '../support/random.ts'
import { normalTensor } from '../support/tensors.ts'
import { binaries } from './kernel-lane.ts'
import { callRows, expectBits, input, output, reference, scratch, updated, WIDTHS } from './row-call.ts'

/** [⌈width / columns⌉][rows][columns], filled up with zeros. */
function inPanels(x: Float32Array, rows: number, width: number, columns: number): Float32Array {
  const panels = Math.ceil(width / columns)
  return Float32Array.from({ length: panels * rows * columns }, (_, index) => {
    const [panel, r, c] = [Math.floor(index / (rows * columns)), Math.floor(index / columns) % rows, index % columns]
    return panel * columns + c < width ? (x[r * width + panel * columns + c] as number) : 0
  })
}

describe.each(binaries)('%s', (binary) => {
  const random = new Random(35)
  const normals = (...shape: number[]) => normalTensor(random, shape).data

  describe.each([
    ['packPanels', 8],
    ['packQuads', 4],
  ] as const)('%s', (name, columns) => {
    test.each(WIDTHS)('%i columns, at once and tile by tile', (width) => {
      for (const rows of [1, 3, 15, 16, 17, 65]) {
        const x = normals(rows, width)
        const should = inPanels(x, rows, width, columns)
        const { to } = callRows(binary, { x: input(x), to: output(should.length) }, (kernels, at) =>
          kernels[name](at.x, rows, width, at.to, rows),
        )
        expectBits(to, should)
        const tiled = callRows(binary, { x: input(x), to: output(should.length) }, (kernels, at) => {
          for (let row = 0; row < rows; row += 2)
            kernels[name](at.x + row * width * 4, Math.min(2, rows - row), width, at.to + row * columns * 4, rows)
        })
        expectBits(tiled.to, should)
      }
    })
  })

  const outer = (
    dy: Float32Array,
    x: Float32Array,
    rows: number,
    outSize: number,
    inSize: number,
    sums: Float32Array,
  ) => {
    const [quads, panels] = [inPanels(dy, rows, outSize, 4), inPanels(x, rows, inSize, 8)]
    const operands = {
      quads: input(quads),
      panels: input(panels, true),
      sums: updated(sums),
      scratch: scratch(Math.min(64, Math.ceil(outSize / 4) * 4) * 8 + 8),
    }
    return callRows(binary, operands, (kernels, at) =>
      kernels.outerRows(at.quads, at.panels, rows, outSize, inSize, at.sums, at.scratch),
    ).sums
  }

  describe('Σ dyᵀ·x', () => {
    const cases = [
      ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 63, 64, 65, 512].map((rows) => [rows, 5, 11]),
      ...[...WIDTHS, 65, 67, 128].map((outSize) => [5, outSize, 9]),
      ...WIDTHS.map((inSize) => [7, 6, inSize]),
    ] as [number, number, number][]
    test.each(cases)('%i rows, %i × %i', (rows, outSize, inSize) => {
      const [dy, x, sums] = [normals(rows, outSize), normals(rows, inSize), normals(outSize, inSize)]
      const is = outer(dy, x, rows, outSize, inSize, sums)
      expect(is).toMatchOracle(
        reference([outSize, inSize], (index, round) => {
          const [o, i] = [Math.floor(index / inSize), index % inSize]
          let sum = 0
          for (let r = 0; r < rows; r++)
            sum = round(sum + round((dy[r * outSize + o] as number) * (x[r * inSize + i] as number)))
          return round((sums[index] as number) + sum)
        }),
      )
      // Each sum depends on its own two columns only.
      for (const [o, i] of [
        [0, 0],
        [outSize - 1, inSize - 1],
        [outSize >> 1, inSize >> 1],
      ] as const) {
        const column = (from: Float32Array, width: number, c: number) =>
          Float32Array.from({ length: rows }, (_, r) => from[r * width + c] as number)
        const alone = outer(
          column(dy, outSize, o),
          column(x, inSize, i),
          rows,
          1,
          1,
          sums.subarray(o * inSize + i, o * inSize + i + 1),
        )
        expectBits(alone, is.subarray(o * inSize + i, o * inSize + i + 1))
      }
    })

    test('no rows: the sums stay', () => {
      const sums = normals(5, 9)
      expectBits(outer(new Float32Array(0), new Float32Array(0), 0, 5, 9, sums), sums)
    })

    test('NaN stays in its row and column of the sums', () => {
      const [rows, outSize, inSize] = [6, 7, 10]
      const [dy, x] = [normals(rows, outSize), normals(rows, inSize)]
      dy[3 * outSize + 6] = NaN
      x[5 * inSize + 9] = NaN
      const is = outer(dy, x, rows, outSize, inSize, new Float32Array(outSize * inSize))
      is.forEach((value, index) =>
        expect(Number.isNaN(value)).toBe(Math.floor(index / inSize) === 6 || index % inSize === 9),
      )
    })
  })

  test.each([
    [5, 7, 9],
    [64, 16, 24],
    [3, 130, 19],
  ])('%i rows: packPanels of W [%i][%i] gives what linearRows takes for dy·W', (rows, outSize, inSize) => {
    const [dy, w] = [normals(rows, outSize), normals(outSize, inSize)]
    const panels = callRows(binary, { w: input(w), to: output(Math.ceil(inSize / 8) * 8 * outSize) }, (kernels, at) =>
      kernels.packPanels(at.w, outSize, inSize, at.to, outSize),
    ).to
    const { dx } = callRows(
      binary,
      {
        dy: input(dy),
        panels: input(panels, true),
        dx: output(rows * inSize),
        scratch: scratch(linearScratchBytes(outSize, rows) / 4),
      },
      (kernels, at) => kernels.linearRows(at.dy, rows, outSize, at.panels, 0, at.dx, inSize, at.scratch),
    )
    expect(dx).toMatchOracle(
      reference([rows, inSize], (index, round) => {
        const [r, i] = [Math.floor(index / inSize), index % inSize]
        let sum = 0
        for (let o = 0; o < outSize; o++)
          sum = round(sum + round((dy[r * outSize + o] as number) * (w[o * inSize + i] as number)))
        return sum
      }),
    )
  })
})
