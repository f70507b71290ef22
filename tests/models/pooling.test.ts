import { describe, expect, test } from 'vitest'
import { joinPieces, normalise, poolRows } from '../../src/models/pooling.ts'

/** Four rows of two, of which the middle ones count. */
const rows = Float32Array.of(9, 9, 1, -4, 3, 2, 9, 9)
const middle = { from: 1, to: 3 }

describe('the rows of a text as one vector', () => {
  test.each([
    ['mean', [2, -1]],
    ['first', [1, -4]],
    ['last', [3, 2]],
    ['max', [3, 2]],
  ] as const)('%s', (pooling, expected) => {
    expect([...poolRows(rows, 2, middle, pooling)]).toEqual(expected)
  })

  test('are a copy', () => {
    poolRows(rows, 2, middle, 'first').fill(0)
    expect(rows[2]).toBe(1)
  })
})

describe('the pieces of a text as one vector', () => {
  const pieces = [
    { vector: Float32Array.of(1, -8), rows: 3 },
    { vector: Float32Array.of(5, 4), rows: 1 },
  ]

  // (3·1 + 1·5)/4 and (3·−8 + 1·4)/4: a mean over all rows, not over the pieces.
  test.each([
    ['mean', [2, -5]],
    ['first', [1, -8]],
    ['last', [5, 4]],
    ['max', [5, 4]],
  ] as const)('%s', (pooling, expected) => {
    expect([...joinPieces(pieces, pooling)]).toEqual(expected)
  })
})

test('a vector is divided by its length; one of length 0 stays', () => {
  expect([...normalise(Float32Array.of(3, -4))]).toEqual([Math.fround(0.6), Math.fround(-0.8)])
  expect([...normalise(new Float32Array(2))]).toEqual([0, 0])
})
