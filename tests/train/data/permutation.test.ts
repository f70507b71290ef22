import { describe, expect, it } from 'vitest'
import { permuted } from '../../../src/train/data/permutation.ts'

const seed = { seedLow: 3, seedHigh: 9 }
const order = (size: number, epoch = 0, words = seed): number[] =>
  Array.from({ length: size }, (_, index) => permuted(index, size, words, epoch))

describe('permuted', () => {
  it.each([1, 2, 3, 4, 5, 7, 16, 17, 255, 1000, 4097])('takes each of %i places once', (size) => {
    expect(order(size).sort((a, b) => a - b)).toEqual(Array.from({ length: size }, (_, index) => index))
  })

  it('depends on seed and epoch', () => {
    const orders = [
      order(100),
      order(100, 1),
      order(100, 0, { seedLow: 4, seedHigh: 9 }),
      order(100, 0, { seedLow: 3, seedHigh: 8 }),
    ]
    expect(new Set(orders.map(String)).size).toBe(4)
    expect(order(100)).toEqual(orders[0])
  })

  it('moves items everywhere alike', () => {
    // Over 3,000 epochs each of 5 items comes first about 600 times: six standard deviations are 131.
    const counts = [0, 0, 0, 0, 0]
    for (let epoch = 0; epoch < 3000; epoch++) counts[permuted(0, 5, seed, epoch)]!++
    for (const count of counts) expect(Math.abs(count - 600)).toBeLessThan(131)
    // and neighbours do not stay neighbours: in 10,000 places about one pair does
    const places = order(10_000)
    expect(places.filter((place, index) => Math.abs(place - (places[index - 1] ?? -9)) === 1).length).toBeLessThan(15)
  })

  it('takes sizes up to 2³⁰', () => {
    const size = 2 ** 30
    const places = Array.from({ length: 1000 }, (_, index) => permuted(index, size, seed, 0))
    expect(new Set(places).size).toBe(1000)
    for (const place of places) expect(place >= 0 && place < size).toBe(true)
    expect(places.reduce((sum, place) => sum + place, 0) / 1000 / size).toBeCloseTo(0.5, 1)
  })
})
