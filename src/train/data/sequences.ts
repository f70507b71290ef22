import { checkBoolean, checkInteger, checkNames, expected } from '../../core/check.ts'
import { OptionError } from '../../core/errors.ts'
import type { SeedWords } from '../../core/philox.ts'
import { deriveSeed, seedWords, type Seed } from '../../core/seed.ts'
import type { Batch } from '../batch.ts'
import { permuted } from './permutation.ts'
import { batchesInOrder, batchOfRows, IGNORED, shuffledItems, type TokenRow } from './row-batches.ts'

/** How sequences become batches. */
export interface SequenceOptions {
  /** rows per batch */
  readonly batch: number
  /** Tokens per row. @default what the longest sequence needs */
  readonly length?: number
  /**
   * Whether a row holds as many whole sequences as fit, told apart by `segments` and `positions`. @default false: one
   * each
   */
  readonly pack?: boolean
  /** The token that fills rows up; its targets do not count. @default 0 */
  readonly padding?: number
}

/**
 * Batches of separate sequences, in a shuffled order: every sequence of an epoch once. A sequence of n tokens gives n −
 * 1 pairs of a token and its target, the token after it. Batch k is computed from k and the seed alone.
 *
 * @param sequences tokens of each
 * @param options `seed` is 0 by default
 * @returns a function from the number of a batch to the batch: tokens and targets [batch, length], with `pack` also
 *   segments and positions
 * @throws {OptionError} when there is no sequence, one has fewer than two tokens, or one does not fit a row
 *
 * @example
 * ```js
 * import { sequenceBatches } from 'heddle/train'
 *
 * const names = [Int32Array.of(1, 2, 3), Int32Array.of(1, 4), Int32Array.of(1, 5, 6, 7)]
 * const batchOf = sequenceBatches(names, { batch: 2 })
 * console.log(batchOf(0).targets.shape) // [ 2, 3 ]
 * ```
 */
export function sequenceBatches(
  sequences: readonly Int32Array[],
  options: SequenceOptions & {
    /** Of the order, which differs from epoch to epoch. @default 0 */
    readonly seed?: Seed
  },
): (index: number) => Batch {
  options = checkNames('sequenceBatches: options', options, ['batch', 'length', 'pack', 'padding', 'seed'])
  const words = seedWords('sequenceBatches: option seed', options.seed ?? 0)
  const rows = rowsOf('sequenceBatches', sequences, options, deriveSeed(words, 0))
  const order = deriveSeed(words, 1)
  return (index) =>
    batchOfRows(
      shuffledItems(index, { batch: options.batch, size: rows.count, seed: order }).map(({ item }) => rows.at(item)),
    )
}

/**
 * All sequences, in order, for evaluation.
 *
 * @param sequences tokens of each
 * @throws {OptionError} as `sequenceBatches`
 */
export function sequencesInOrder(sequences: readonly Int32Array[], options: SequenceOptions): Batch[] {
  options = checkNames('sequencesInOrder: options', options, ['batch', 'length', 'pack', 'padding'])
  const rows = rowsOf('sequencesInOrder', sequences, options, null)
  return batchesInOrder(rows.count, options.batch, rows.at)
}

/**
 * Holds a share of the items out, chosen by the seed.
 *
 * @param items anything
 * @param validation the share to hold out, between 0 and 1
 * @param seed decides which items are held out
 * @throws {OptionError} unless the share lies between 0 and 1 and leaves items on both sides
 */
export function splitItems<Item>(
  items: readonly Item[],
  validation: number,
  seed: Seed = 0,
): {
  /** the items that are left */
  readonly training: Item[]
  /** the items held out */
  readonly validation: Item[]
} {
  if (typeof validation !== 'number' || !(validation > 0 && validation < 1))
    throw expected('splitItems: validation', 'a number between 0 and 1', validation)
  const words = seedWords('splitItems: seed', seed)
  const held = Math.round(items.length * validation)
  if (held === 0 || held === items.length)
    throw new OptionError(
      `splitItems: expected items on both sides, got ${items.length - held} to train and ${held} to hold out`,
    )
  const isHeldOut = (index: number): boolean => permuted(index, items.length, words, 0) < held
  return {
    training: items.filter((_, index) => !isHeldOut(index)),
    validation: items.filter((_, index) => isHeldOut(index)),
  }
}

interface Rows {
  readonly count: number
  readonly at: (index: number) => TokenRow
}

/** @param shuffle packs in an order that this seed chooses, so that neighbours in the list do not always share a row */
function rowsOf(
  what: string,
  sequences: readonly Int32Array[],
  options: SequenceOptions,
  shuffle: SeedWords | null,
): Rows {
  if (!Array.isArray(sequences) || !sequences.every((sequence) => sequence instanceof Int32Array))
    throw expected(`${what}: sequences`, 'an array of Int32Arrays', sequences)
  if (sequences.length === 0) throw new OptionError(`${what}: expected at least one sequence, got none`)
  const { batch, pack = false, padding = 0 } = options
  const length = options.length ?? sequences.reduce((most, { length: tokens }) => Math.max(most, tokens - 1), 1)
  checkInteger(`${what}: option batch`, batch, 1)
  checkInteger(`${what}: option length`, length, 1)
  checkInteger(`${what}: option padding`, padding, 0)
  checkBoolean(`${what}: option pack`, pack)
  const wrong = sequences.findIndex(({ length: tokens }) => tokens < 2 || tokens > length + 1)
  if (wrong >= 0)
    throw new OptionError(
      `${what}: expected sequences of 2 to ${length + 1} tokens (a row has ${length}, each with the token after it), got ${sequences[wrong]?.length} tokens in sequence ${wrong}`,
    )
  if (!pack)
    return { count: sequences.length, at: (index) => fillRow([sequences[index] as Int32Array], length, padding, false) }
  const ordered = sequences.map(
    (_, index) => sequences[shuffle === null ? index : permuted(index, sequences.length, shuffle, 0)] as Int32Array,
  )
  const groups = grouped(ordered, length)
  return { count: groups.length, at: (index) => fillRow(groups[index] ?? [], length, padding, true) }
}

/** Next fit: a row is full when the next sequence does not fit any more. */
function grouped(sequences: readonly Int32Array[], length: number): Int32Array[][] {
  const groups: Int32Array[][] = []
  let room = 0
  for (const sequence of sequences) {
    const needed = sequence.length - 1
    if (needed > room) {
      groups.push([])
      room = length
    }
    groups.at(-1)?.push(sequence)
    room -= needed
  }
  return groups
}

/** Segments count from 1; the padding is in segment 0. */
function fillRow(sequences: readonly Int32Array[], length: number, padding: number, packed: boolean): TokenRow {
  const tokens = new Int32Array(length).fill(padding)
  const targets = new Int32Array(length).fill(IGNORED)
  const [segments, positions] = [new Int32Array(length), new Int32Array(length)]
  let start = 0
  for (const [index, sequence] of sequences.entries()) {
    const end = start + sequence.length - 1
    tokens.set(sequence.subarray(0, -1), start)
    targets.set(sequence.subarray(1), start)
    segments.fill(index + 1, start, end)
    for (let place = start; place < end; place++) positions[place] = place - start
    start = end
  }
  return packed ? { tokens, targets, segments, positions } : { tokens, targets }
}
