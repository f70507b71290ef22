import { checkInteger, checkNames, expected } from '../../core/check.ts'
import { OptionError } from '../../core/errors.ts'
import { philoxWords, type SeedWords } from '../../core/philox.ts'
import { seedWords, type Seed } from '../../core/seed.ts'
import type { Batch } from '../batch.ts'
import { batchesInOrder, batchOfRows, shuffledItems, type TokenRow } from './row-batches.ts'

/** How a long text is cut into batches of windows. */
export interface WindowOptions {
  /** windows per batch */
  readonly batch: number
  /** tokens per window */
  readonly length: number
}

/**
 * Batches of windows of a long text, in a shuffled order: every window of an epoch once. Each epoch cuts the text at
 * other places. Batch k is computed from k and the seed alone.
 *
 * @param tokens [n], one text
 * @param options `seed` is 0 by default
 * @returns a function from the number of a batch to the batch: tokens and targets [batch, length], where a token's
 *   target is the one after it
 * @throws {OptionError} when the text is shorter than one window and its last target
 *
 * @example
 * ```js
 * import { CharacterTokenizer, splitText, windowBatches } from 'heddle/train'
 *
 * const text = 'Call me Ishmael. Some years ago, never mind how long precisely, I went to sea.'
 * const { training } = splitText(CharacterTokenizer.fromText(text).encode(text), 0.2)
 * const batchOf = windowBatches(training, { batch: 2, length: 16 })
 * console.log(batchOf(0).tokens.shape) // [ 2, 16 ]
 * ```
 */
export function windowBatches(
  tokens: Int32Array,
  options: WindowOptions & {
    /** Of the order, which differs from epoch to epoch. @default 0 */
    readonly seed?: Seed
  },
): (index: number) => Batch {
  options = checkNames('windowBatches: options', options, ['batch', 'length', 'seed'])
  const { batch, length, seed = 0 } = checked('windowBatches', tokens, options)
  const words = seedWords('windowBatches: option seed', seed)
  const pairs = tokens.length - 1
  // One window is given up for the freedom to begin anywhere.
  const size = Math.max(1, Math.floor(pairs / length) - 1)
  return (index) =>
    batchOfRows(
      shuffledItems(index, { batch, size, seed: words }).map(({ item, epoch }) => {
        const offset = integerBelow(pairs - size * length + 1, words, epoch)
        return windowAt(tokens, offset + item * length, length)
      }),
    )
}

/**
 * All whole windows of a text in order, for evaluation.
 *
 * @param tokens of the whole text
 * @throws {OptionError} as `windowBatches`
 */
export function windowsInOrder(tokens: Int32Array, options: WindowOptions): Batch[] {
  options = checkNames('windowsInOrder: options', options, ['batch', 'length'])
  const { batch, length } = checked('windowsInOrder', tokens, options)
  return batchesInOrder(Math.floor((tokens.length - 1) / length), batch, (index) =>
    windowAt(tokens, index * length, length),
  )
}

/**
 * The last share of a text is held out.
 *
 * @param tokens of the whole text
 * @param validation the share to hold out, between 0 and 1
 * @throws {OptionError} unless the share lies between 0 and 1
 */
export function splitText(
  tokens: Int32Array,
  validation: number,
): {
  /** the first part of the text */
  readonly training: Int32Array
  /** the last part of the text, held out */
  readonly validation: Int32Array
} {
  if (typeof validation !== 'number' || !(validation > 0 && validation < 1))
    throw expected('splitText: validation', 'a number between 0 and 1', validation)
  const cut = Math.round(tokens.length * (1 - validation))
  return { training: tokens.subarray(0, cut), validation: tokens.subarray(cut) }
}

function checked<Options extends WindowOptions>(what: string, tokens: unknown, options: Options): Options {
  if (!(tokens instanceof Int32Array)) throw expected(`${what}: tokens`, 'an Int32Array', tokens)
  checkInteger(`${what}: option batch`, options.batch, 1)
  checkInteger(`${what}: option length`, options.length, 1)
  if (tokens.length < options.length + 1)
    throw new OptionError(
      `${what}: expected a text of at least ${options.length + 1} tokens for windows of ${options.length}, got ${tokens.length}`,
    )
  return options
}

function windowAt(tokens: Int32Array, start: number, length: number): TokenRow {
  return { tokens: tokens.subarray(start, start + length), targets: tokens.subarray(start + 1, start + length + 1) }
}

function integerBelow(limit: number, seed: SeedWords, epoch: number): number {
  const words = new Uint32Array(4)
  philoxWords(words, seed, epoch, 0, 0, 0xfffffffb)
  return Math.floor(((words[0] ?? 0) / 2 ** 32) * limit)
}
