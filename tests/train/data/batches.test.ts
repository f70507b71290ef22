import { describe, expect, it } from 'vitest'
import { OptionError } from '../../../src/core/errors.ts'
import { readBatch, type Batch } from '../../../src/train/batch.ts'
import { sequenceBatches, sequencesInOrder, splitItems } from '../../../src/train/data/sequences.ts'
import { splitText, windowBatches, windowsInOrder } from '../../../src/train/data/windows.ts'

const text = (length: number): Int32Array => Int32Array.from({ length }, (_, place) => place)

/** The rows of one tensor of a batch. */
function rowsOf(batch: Batch, name: 'tokens' | 'targets' | 'segments' | 'positions'): number[][] {
  const tensor = batch[name]
  if (tensor === undefined) throw new Error(`no ${name}`)
  const [count = 0, length = 0] = tensor.shape
  return Array.from({ length: count }, (_, row) => Array.from(tensor.data.subarray(row * length, (row + 1) * length)))
}

describe('windowBatches', () => {
  it('gives contiguous windows, each token with the one after it', () => {
    const batchAt = windowBatches(text(1000), { batch: 3, length: 16, seed: 4 })
    for (const index of [0, 1, 57, 1_000_000]) {
      const batch = batchAt(index)
      expect(readBatch('batch', batch).rows).toEqual([3, 16])
      for (const [row, tokens] of rowsOf(batch, 'tokens').entries()) {
        expect(tokens).toEqual(Array.from({ length: 16 }, (_, place) => (tokens[0] ?? 0) + place))
        expect(rowsOf(batch, 'targets')[row]).toEqual(tokens.map((token) => token + 1))
        expect(rowsOf(batch, 'targets')[row]?.at(-1)).toBeLessThan(1000)
      }
    }
  })

  it('shows every window of an epoch once, then cuts elsewhere', () => {
    const batchAt = windowBatches(text(1000), { batch: 5, length: 9, seed: 1 })
    // 111 windows fit; one is given up
    const starts = Array.from({ length: 220 / 5 }, (_, index) =>
      rowsOf(batchAt(index), 'tokens').map((tokens) => tokens[0] ?? 0),
    ).flat()
    const epochs = [starts.slice(0, 110), starts.slice(110)]
    for (const epoch of epochs) {
      expect(new Set(epoch).size).toBe(110)
      expect(new Set(epoch.map((start) => start % 9)).size).toBe(1)
      expect(epoch).not.toEqual(epoch.toSorted((a, b) => a - b))
    }
    expect(epochs[0]?.map((start) => start - Math.min(...(epochs[0] ?? [])))).not.toEqual(
      epochs[1]?.map((start) => start - Math.min(...(epochs[1] ?? []))),
    )
  })

  it('knows batch k without the batches before it', () => {
    const options = { batch: 4, length: 8, seed: 7 }
    const one = windowBatches(text(300), options)
    for (let index = 0; index < 50; index++) one(index)
    expect(windowBatches(text(300), options)(33)).toEqual(one(33))
    expect(windowBatches(text(300), { ...options, seed: 8 })(33)).not.toEqual(one(33))
  })

  it('takes a text of one window', () => {
    expect(rowsOf(windowBatches(text(9), { batch: 2, length: 8 })(5), 'tokens')).toEqual([
      [0, 1, 2, 3, 4, 5, 6, 7],
      [0, 1, 2, 3, 4, 5, 6, 7],
    ])
    expect(() => windowBatches(text(8), { batch: 2, length: 8 })).toThrow(
      'windowBatches: expected a text of at least 9 tokens for windows of 8, got 8',
    )
    expect(() => windowBatches(text(0), { batch: 2, length: 8 })).toThrow(OptionError)
    expect(() => windowBatches([1, 2] as never, { batch: 1, length: 1 })).toThrow(
      'windowBatches: tokens: expected an Int32Array',
    )
  })

  it('goes through a text in order for evaluation', () => {
    const batches = windowsInOrder(text(100), { batch: 3, length: 10 })
    expect(batches.map(({ tokens }) => tokens?.shape)).toEqual([
      [3, 10],
      [3, 10],
      [3, 10],
    ])
    expect(batches.flatMap((batch) => rowsOf(batch, 'tokens')).flat()).toEqual(Array.from(text(90)))
    expect(windowsInOrder(text(81), { batch: 3, length: 10 }).map(({ tokens }) => tokens?.shape)).toEqual([
      [3, 10],
      [3, 10],
      [2, 10],
    ])
  })

  it('holds out the end of a text', () => {
    const { training, validation } = splitText(text(100), 0.1)
    expect([training.length, validation[0], validation.length]).toEqual([90, 90, 10])
    for (const share of [0, 1, NaN]) expect(() => splitText(text(100), share)).toThrow(OptionError)
  })
})

describe('sequenceBatches', () => {
  const sequences = [
    [1, 2, 3, 9],
    [4, 5, 9],
    [6, 9],
    [7, 8, 7, 8, 9],
    [2, 9],
  ].map((tokens) => Int32Array.from(tokens))

  it('pads: one sequence per row, whose rest does not count', () => {
    const [batch] = sequencesInOrder(sequences, { batch: 5, padding: 3 })
    if (batch === undefined) throw new Error('no batch')
    expect(rowsOf(batch, 'tokens')).toEqual([
      [1, 2, 3, 3],
      [4, 5, 3, 3],
      [6, 3, 3, 3],
      [7, 8, 7, 8],
      [2, 3, 3, 3],
    ])
    expect(rowsOf(batch, 'targets')).toEqual([
      [2, 3, 9, -100],
      [5, 9, -100, -100],
      [9, -100, -100, -100],
      [8, 7, 8, 9],
      [9, -100, -100, -100],
    ])
    expect(batch.segments).toBeUndefined()
  })

  it('packs whole sequences, told apart by segments, with positions of their own', () => {
    const [batch, ...more] = sequencesInOrder(sequences, { batch: 9, length: 6, pack: true })
    if (batch === undefined) throw new Error('no batch')
    expect(more).toEqual([])
    expect(readBatch('batch', batch).rows).toEqual([2, 6])
    expect(rowsOf(batch, 'tokens')).toEqual([
      [1, 2, 3, 4, 5, 6],
      [7, 8, 7, 8, 2, 0],
    ])
    expect(rowsOf(batch, 'targets')).toEqual([
      [2, 3, 9, 5, 9, 9],
      [8, 7, 8, 9, 9, -100],
    ])
    expect(rowsOf(batch, 'segments')).toEqual([
      [1, 1, 1, 2, 2, 3],
      [1, 1, 1, 1, 2, 0],
    ])
    expect(rowsOf(batch, 'positions')).toEqual([
      [0, 1, 2, 0, 1, 0],
      [0, 1, 2, 3, 0, 0],
    ])
  })

  it.each([false, true])('shows every pair of an epoch once (packed: %s)', (pack) => {
    const many = Array.from({ length: 200 }, (_, index) =>
      Int32Array.from({ length: 2 + (index % 7) }, (_, place) => 1 + index * 10 + place),
    )
    const options = { batch: 1, length: 20, pack, seed: 3 }
    const rows = sequencesInOrder(many, { batch: 1, length: 20, pack }).length
    const batchAt = sequenceBatches(many, options)
    const pairs: number[] = []
    // the order of packing is its own, so the number of rows may differ a little
    for (let index = 0; pairs.length < 200 + 200 * 3 - 3 - 5 && index < 2 * rows; index++) {
      const batch = batchAt(index)
      for (const [place, target] of (batch.targets?.data ?? []).entries())
        if (target !== -100) pairs.push(batch.tokens?.data[place] ?? -1)
    }
    const expected = many.flatMap((sequence) => Array.from(sequence.subarray(0, -1)))
    expect(new Set(pairs).size).toBe(pairs.length)
    expect(pairs.every((token) => expected.includes(token))).toBe(true)
    expect(batchAt(12)).toEqual(sequenceBatches(many, options)(12))
  })

  it.each([
    [[], { batch: 1 }, 'sequenceBatches: expected at least one sequence, got none'],
    [[Int32Array.of(1)], { batch: 1 }, 'expected sequences of 2 to 2 tokens'],
    [
      [Int32Array.of(1, 2), Int32Array.of(1, 2, 3, 4)],
      { batch: 1, length: 2 },
      'expected sequences of 2 to 3 tokens (a row has 2, each with the token after it), got 4 tokens in sequence 1',
    ],
    [[[1, 2]], { batch: 1 }, 'sequences: expected an array of Int32Arrays'],
    [[Int32Array.of(1, 2)], { batch: 0 }, 'option batch'],
    [[Int32Array.of(1, 2)], { batch: 1, packed: true }, 'got "packed"'],
  ])('refuses bad input: case %#', (list, options, message) => {
    expect(() => sequenceBatches(list as never, options)).toThrow(OptionError)
    expect(() => sequenceBatches(list as never, options)).toThrow(message)
  })

  it('holds items out by a seed', () => {
    const items = Array.from({ length: 100 }, (_, index) => index)
    const { training, validation } = splitItems(items, 0.2, 5)
    expect([training.length, validation.length]).toEqual([80, 20])
    expect([...training, ...validation].sort((a, b) => a - b)).toEqual(items)
    expect(validation).not.toEqual(splitItems(items, 0.2, 6).validation)
    expect(validation).toEqual(splitItems(items, 0.2, 5).validation)
    expect(() => splitItems([1], 0.5)).toThrow(OptionError)
  })
})
