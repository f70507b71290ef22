import { checkInteger, checkNames } from '../../core/check.ts'
import { exactExp, exactLog } from '../../core/elementary.ts'
import { OptionError } from '../../core/errors.ts'
import type { SeedWords } from '../../core/philox.ts'
import { deriveSeed, seedWords, UniformStream, type Seed } from '../../core/seed.ts'
import type { Batch } from '../batch.ts'
import { permuted } from './permutation.ts'
import { batchOfRows, IGNORED, type TokenRow } from './row-batches.ts'

/** What `copyTask` and `reverseTask` take. */
export interface TaskOptions {
  /** rows per batch */
  readonly batch: number
  /** tokens per row */
  readonly length: number
  /** how many symbols there are; `copyTask` and `reverseTask` add one token more, the separator */
  readonly symbols: number
  /** Another seed gives other sequences, to hold out, say. @default 0 */
  readonly seed?: Seed
}

/** What `inductionTask` takes. */
export interface InductionOptions extends TaskOptions {
  /** The shortest period. @default a quarter of the length */
  readonly shortest?: number
  /** The longest period; there must be as many symbols. @default half of the length */
  readonly longest?: number
}

/**
 * Random symbols, a separator, and the same symbols again: x₁ … x_h | x₁ … x_h with h = length / 2. Only the repetition
 * counts.
 *
 * @returns a function from the number of a batch to the batch; the separator is token `symbols`
 * @throws {OptionError} unless the length is even
 *
 * @example
 * ```js
 * import { copyTask } from 'heddle/train'
 *
 * const { tokens } = copyTask({ batch: 1, length: 8, symbols: 5 })(0)
 * console.log(tokens.shape, tokens.data[4]) // [ 1, 8 ] 5
 * ```
 */
export function copyTask(options: TaskOptions): (index: number) => Batch {
  return repetition('copyTask', options, (half) => half)
}

/** As `copyTask`, but the symbols come again in reverse: x₁ … x_h | x_h … x₁. */
export function reverseTask(options: TaskOptions): (index: number) => Batch {
  return repetition('reverseTask', options, (half) => half.toReversed())
}

/**
 * Symbols in a random order without repetition, over and over: what follows a symbol is found where it occurred before.
 * The period is drawn for each row, evenly on a logarithmic scale. Only rows from the second period on count, where the
 * answer is known. Solved by an induction head (Olsson et al. 2022), and by nothing that looks less far back than the
 * period.
 *
 * Long periods alone teach slowly, because the one key that answers is lost among many. A `shortest` of 4 teaches the
 * same head on short periods first.
 *
 * @throws {OptionError} when periods are longer than the length, or than there are symbols
 *
 * @example
 * ```js
 * import { inductionTask } from 'heddle/train'
 *
 * const { tokens, targets } = inductionTask({ batch: 4, length: 64, symbols: 32 })(0)
 * console.log(tokens.shape, targets.data[0]) // [ 4, 64 ] -100
 * ```
 */
export function inductionTask(options: InductionOptions): (index: number) => Batch {
  const { shortest, longest, ...sizes } = options
  const { batch, length, symbols, seed } = checked('inductionTask', sizes)
  const periods = checkedPeriods(length, symbols, { shortest, longest })
  return (index) =>
    batchOfRows(
      Array.from({ length: batch }, (_, row) => {
        const own = deriveSeed(deriveSeed(seed, index), row)
        const period = logarithmic(periods, new UniformStream(own).next())
        const block = Int32Array.from({ length: period }, (_, place) => permuted(place, symbols, own, 0))
        const tokens = Int32Array.from({ length: length + 1 }, (_, place) => block[place % period] ?? 0)
        return { tokens: tokens.subarray(0, length), targets: tokens.slice(1).fill(IGNORED, 0, period) }
      }),
    )
}

interface Periods {
  readonly shortest: number
  readonly longest: number
}

function checkedPeriods(
  length: number,
  symbols: number,
  given: { readonly [Name in keyof Periods]: number | undefined },
): Periods {
  const { shortest = Math.max(1, Math.floor(length / 4)), longest = Math.floor(length / 2) } = given
  checkInteger('inductionTask: option longest', longest, 1, length - 1)
  checkInteger('inductionTask: option shortest', shortest, 1, longest)
  if (symbols < longest)
    throw new OptionError(
      `inductionTask: option symbols: expected at least as many as the longest period, ${longest}, got ${symbols}`,
    )
  return { shortest, longest }
}

/** An integer between the two, inclusive; `share` lies in [0, 1). */
function logarithmic({ shortest, longest }: Periods, share: number): number {
  return Math.min(longest, Math.floor(shortest * exactExp(share * exactLog((longest + 1) / shortest))))
}

function repetition(
  what: string,
  options: TaskOptions,
  answer: (half: readonly number[]) => readonly number[],
): (index: number) => Batch {
  const { batch, length, symbols, seed } = checked(what, options)
  if (length % 2 !== 0) throw new OptionError(`${what}: option length: expected an even number, got ${length}`)
  const rowOf = (own: SeedWords): TokenRow => {
    const stream = new UniformStream(own)
    const half = Array.from({ length: length / 2 }, () => Math.floor(stream.next() * symbols))
    const all = Int32Array.of(...half, symbols, ...answer(half))
    return { tokens: all.subarray(0, length), targets: all.slice(1).fill(IGNORED, 0, length / 2) }
  }
  return (index) =>
    batchOfRows(Array.from({ length: batch }, (_, row) => rowOf(deriveSeed(deriveSeed(seed, index), row))))
}

function checked(
  what: string,
  options: TaskOptions,
): { readonly batch: number; readonly length: number; readonly symbols: number; readonly seed: SeedWords } {
  options = checkNames(`${what}: options`, options, ['batch', 'length', 'symbols', 'seed'])
  const { batch, length, symbols, seed = 0 } = options
  checkInteger(`${what}: option batch`, batch, 1)
  checkInteger(`${what}: option length`, length, 2)
  checkInteger(`${what}: option symbols`, symbols, 2)
  return { batch, length, symbols, seed: seedWords(`${what}: option seed`, seed) }
}
