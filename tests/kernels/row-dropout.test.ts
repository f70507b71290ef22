import { describe, expect, test } from 'vitest'
import { philoxWords } from '../../src/core/philox.ts'
import { Random } from '../support/random.ts'
import { normalTensor } from '../support/tensors.ts'
import { binaries } from './kernel-lane.ts'
import { callRows, expectBits, rowOf, updated, WIDTHS } from './row-call.ts'

interface Dropout {
  readonly row: number
  readonly batch: number
  readonly site: number
  readonly threshold: number
  readonly keepScale: number
  readonly seedLow: number
  readonly seedHigh: number
}

const half: Dropout = {
  row: 70_000,
  batch: 3,
  site: 11,
  threshold: 2 ** 31,
  keepScale: 2,
  seedLow: 0x89ab_cdef,
  seedHigh: 0xfedc_ba98,
}
const settings: readonly Dropout[] = [
  half,
  {
    ...half,
    threshold: Math.floor(0.1 * 2 ** 32),
    keepScale: 1 / (1 - 0.1),
    row: 0,
    batch: 0,
    site: 0,
    seedLow: 1,
    seedHigh: 0,
  },
  {
    ...half,
    threshold: 0xffff_ff00,
    keepScale: 1 / (1 - 0xffff_ff00 / 2 ** 32),
    batch: 0xffff_fff0,
    site: 0x8000_0001,
  },
  { ...half, threshold: 0, keepScale: 1 },
  { ...half, threshold: 2 ** 32, keepScale: 0 },
]

/** The same in plain JavaScript, counter by counter, as a stage did before it had this kernel. */
function dropped(
  x: Float32Array,
  width: number,
  { row, batch, site, threshold, keepScale, ...seed }: Dropout,
): Float32Array {
  const words = new Uint32Array(4)
  return x.map((value, index) => {
    const column = index % width
    philoxWords(words, seed, column >> 2, row + Math.floor(index / width), batch, site)
    return (words[column & 3] as number) >= threshold ? value * keepScale : 0
  })
}

describe.each(binaries)('%s', (binary) => {
  const random = new Random(36)
  const normals = (...shape: number[]) => normalTensor(random, shape).data
  const drop = (x: Float32Array, width: number, s: Dropout) =>
    callRows(binary, { x: updated(x) }, (kernels, at) =>
      kernels.dropRows(
        at.x,
        x.length / width,
        width,
        s.row,
        s.batch,
        s.site,
        s.threshold,
        s.keepScale,
        s.seedLow,
        s.seedHigh,
      ),
    ).x

  describe.each(settings)('threshold $threshold', (setting) => {
    test.each([...WIDTHS, 31, 32, 33])('%i columns: the bits of the plain loop', (width) => {
      for (const rows of [1, 3, 65]) {
        const x = normals(rows, width)
        expectBits(drop(x, width, setting), dropped(x, width, setting))
      }
    })
  })

  test('a word that equals the threshold is kept', () => {
    const words = new Uint32Array(4)
    philoxWords(words, half, 1, half.row, half.batch, half.site)
    const is = drop(new Float32Array(8).fill(1), 8, { ...half, threshold: words[2] as number })
    expect(is[6]).toBe(2)
  })

  test('float64 products, whatever the element', () => {
    const x = Float32Array.from(
      { length: 4 * 256 },
      (_, index) => (1 + (index % 97) / 97) * 2 ** ((index % 256) - 148) * (index % 2 === 0 ? 1 : -1),
    )
    for (const keepScale of [1 / 0.9, 1 / 0.7, 1.0000000001, 1e300]) {
      const setting = { ...half, threshold: 0, keepScale }
      expectBits(drop(x, 256, setting), dropped(x, 256, setting))
    }
  })

  test('dropped NaN and infinities are 0, kept ones stay; −0 keeps its sign', () => {
    for (const value of [NaN, Infinity, -Infinity, -0]) {
      const x = new Float32Array(3 * 37).fill(value)
      const is = drop(x, 37, half)
      expect(is).toEqual(dropped(x, 37, half))
      expect(new Set(is)).toEqual(new Set([value, 0]))
      expect([...drop(x, 37, { ...half, threshold: 2 ** 32, keepScale: 0 })]).toEqual(new Array(3 * 37).fill(0))
    }
  })

  test('a row has the same bits wherever it stands', () => {
    const [rows, width] = [65, 21]
    const x = normals(rows, width)
    const whole = drop(x, width, half)
    for (let row = 0; row < rows; row++)
      expectBits(drop(rowOf(x, row, width), width, { ...half, row: half.row + row }), rowOf(whole, row, width))
  })
})
