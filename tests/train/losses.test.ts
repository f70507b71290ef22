import { describe, expect, it } from 'vitest'
import { NumericError, OptionError, ShapeError } from '../../src/core/errors.ts'
import { readBatch, type Batch } from '../../src/train/batch.ts'
import { countTargets, crossEntropy, meanSquaredError } from '../../src/train/losses.ts'

const ints = (...values: number[]) => ({ data: Int32Array.from(values), shape: [2, values.length / 2] })
const bytes = (...values: number[]) => ({ data: Uint8Array.from(values), shape: [2, values.length / 2] })
const floats = (shape: number[], ...values: number[]) => ({ data: Float32Array.from(values), shape })
const tokens = ints(0, 1, 2, 3, 4, 5)

describe('losses', () => {
  it('are plain data', () => {
    expect(crossEntropy()).toEqual({ kind: 'crossEntropy', labelSmoothing: 0, ignoreIndex: -100 })
    expect(structuredClone(crossEntropy({ labelSmoothing: 0.1, ignoreIndex: 0 }))).toEqual({
      kind: 'crossEntropy',
      labelSmoothing: 0.1,
      ignoreIndex: 0,
    })
    expect(meanSquaredError()).toEqual({ kind: 'meanSquaredError' })
  })

  it.each([
    [{ labelSmoothing: 1.1 }, /labelSmoothing: expected a number from 0 to 1/],
    [{ labelSmoothing: NaN }, /labelSmoothing/],
    [{ ignoreIndex: 0.5 }, /ignoreIndex: expected an integer/],
    [{ smoothing: 0.1 }, /got "smoothing"/],
  ])('refuse %j', (options, message) => {
    expect(() => crossEntropy(options as never)).toThrow(OptionError)
    expect(() => crossEntropy(options as never)).toThrow(message)
  })
})

describe('countTargets', () => {
  it('counts classes that are neither ignored nor masked', () => {
    const batch: Batch = { tokens, targets: ints(1, 2, -100, 3, 4, 5), mask: bytes(1, 0, 1, 1, 1, 7) }
    expect(countTargets(crossEntropy(), batch, [2, 3, 6])).toBe(4)
    expect(countTargets(crossEntropy({ ignoreIndex: 5 }), { tokens, targets: ints(1, 2, 5, 3, 4, 5) }, [2, 3, 6])).toBe(
      4,
    )
  })

  it('names the position and the value of a class out of range', () => {
    for (const value of [6, -1]) {
      const batch: Batch = { tokens, targets: ints(0, 1, 2, 3, value, 5) }
      expect(() => countTargets(crossEntropy(), batch, [2, 3, 6])).toThrow(
        `crossEntropy: expected targets from 0 to 5, or -100 to ignore one, got ${value} at [1, 1]`,
      )
      // what is masked may be anything
      expect(countTargets(crossEntropy(), { ...batch, mask: bytes(1, 1, 1, 1, 0, 1) }, [2, 3, 6])).toBe(5)
    }
  })

  it('counts elements of rows that are not masked', () => {
    const target = floats([2, 3, 2], 1, 2, 3, 4, 5, NaN, 7, 8, 9, 10, 11, 12)
    const batch: Batch = { tokens, target, mask: bytes(1, 1, 0, 0, 1, 1) }
    expect(countTargets(meanSquaredError(), batch, [2, 3, 2])).toBe(8)
    expect(() => countTargets(meanSquaredError(), { tokens, target }, [2, 3, 2])).toThrow(NumericError)
    expect(() => countTargets(meanSquaredError(), { tokens, target }, [2, 3, 2])).toThrow(
      'meanSquaredError: expected finite targets, got NaN at [0, 2, 1]',
    )
  })

  it('needs the targets of its loss, of the shape of the output, and one that counts', () => {
    const target = floats([2, 3, 1], 1, 2, 3, 4, 5, 6)
    expect(() => countTargets(crossEntropy(), { tokens, target }, [2, 3, 6])).toThrow(/expected a batch with targets/)
    expect(() => countTargets(meanSquaredError(), { tokens, targets: tokens }, [2, 3, 6])).toThrow(
      /expected a batch with target /,
    )
    expect(() => countTargets(meanSquaredError(), { tokens, target }, [2, 3, 2])).toThrow(ShapeError)
    expect(() => countTargets(crossEntropy(), { tokens, targets: tokens }, [2, 4, 6])).toThrow(
      'crossEntropy: expected targets of shape [2, 4], got [2, 3]',
    )
    expect(() =>
      countTargets(crossEntropy(), { tokens, targets: ints(-100, -100, -100, -100, -100, -100) }, [2, 3, 6]),
    ).toThrow('crossEntropy: expected at least one target that counts, got none')
    expect(() =>
      countTargets(meanSquaredError(), { tokens, target, mask: bytes(0, 0, 0, 0, 0, 0) }, [2, 3, 1]),
    ).toThrow(OptionError)
  })
})

describe('readBatch', () => {
  const targets = tokens

  it('knows the rows of tokens and of vectors', () => {
    expect(readBatch('batch', { tokens, targets, segments: tokens, positions: tokens }).rows).toEqual([2, 3])
    expect(readBatch('batch', { input: floats([3, 2], 1, 2, 3, 4, 5, 6), target: floats([1], 1) }).rows).toEqual([3])
  })

  it.each([
    [{ tokens }, OptionError, 'batch: expected either targets or target, got neither'],
    [{ targets }, OptionError, 'batch: expected either tokens or input, got neither'],
    [{ tokens, input: floats([1, 1], 1), targets }, OptionError, 'batch: expected either tokens or input, got both'],
    [
      { tokens, targets: ints(1, 2) },
      ShapeError,
      'batch: targets: expected shape [2, 3], as the input has it, got [2, 1]',
    ],
    [
      { tokens, targets, mask: bytes(1, 1) },
      ShapeError,
      'batch: mask: expected shape [2, 3], as the input has it, got [2, 1]',
    ],
    [
      { tokens, targets, segments: ints(1, 1) },
      ShapeError,
      'batch: segments: expected shape [2, 3], as the input has it, got [2, 1]',
    ],
    [
      { tokens, targets, positions: ints(1, 1) },
      ShapeError,
      'batch: positions: expected shape [2, 3], as the input has it, got [2, 1]',
    ],
    [
      { tokens: { data: Int32Array.of(1), shape: [1, 1, 1] }, targets },
      ShapeError,
      'batch: tokens: expected shape [B, M] or [M], got [1, 1, 1]',
    ],
    [
      { tokens: floats([2], 1, 2), targets },
      OptionError,
      'batch: tokens: expected data as a Int32Array, got Float32Array',
    ],
    [{ tokens, labels: targets }, OptionError, 'got "labels"'],
    [[], OptionError, 'batch: expected an object, got an array of 0'],
  ])('refuses what does not fit: case %#', (batch, error, message) => {
    expect(() => readBatch('batch', batch)).toThrow(error)
    expect(() => readBatch('batch', batch)).toThrow(message)
  })
})
