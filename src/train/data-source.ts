import { throwIfAborted, untilAborted } from '../core/abort.ts'
import { expected } from '../core/check.ts'
import { OptionError } from '../core/errors.ts'
import type { Batch } from './batch.ts'

/** Where batches come from: drawn one after the other, or each made out of its number (from 0). */
export type BatchSource = Iterable<Batch> | AsyncIterable<Batch> | ((index: number) => Batch | Promise<Batch>)

/** Batches that can be gone through again and again, or a function that starts from the first one each time. */
export type BatchList = Iterable<Batch> | AsyncIterable<Batch> | (() => Iterable<Batch> | AsyncIterable<Batch>)

type BatchIterator = Iterator<Batch> | AsyncIterator<Batch>

/** @throws {OptionError} unless `source` can be iterated or called */
export function checkSource(what: string, source: unknown): asserts source is BatchSource {
  if (typeof source !== 'function' && !isIterable(source))
    throw expected(what, 'an iterable, an async iterable or a function from the number of a batch to the batch', source)
}

/** @throws {OptionError} for what can be gone through once only, such as a generator */
export function checkList(what: string, list: unknown): asserts list is BatchList {
  if (typeof list === 'function') return
  if (!isIterable(list)) throw expected(what, 'an iterable, an async iterable or a function that returns one', list)
  if ('next' in list)
    throw new OptionError(
      `${what}: expected batches that can be iterated more than once (an array, or a function that starts a generator), got an iterator`,
    )
}

function isIterable(value: unknown): value is object {
  return typeof value === 'object' && value !== null && (Symbol.iterator in value || Symbol.asyncIterator in value)
}

function iterate(batches: Iterable<Batch> | AsyncIterable<Batch>): BatchIterator {
  return Symbol.asyncIterator in batches ? batches[Symbol.asyncIterator]() : batches[Symbol.iterator]()
}

/** Draws batches in order and lets go of the iterator at the end. */
export class BatchReader {
  readonly #make: ((index: number) => Batch | Promise<Batch>) | null
  readonly #iterator: BatchIterator | null
  readonly #signal: AbortSignal | undefined
  #index = 0
  /** an iterator that has ended, or that still owes an answer, has nothing to return */
  #open = true

  constructor(source: BatchSource, signal: AbortSignal | undefined) {
    this.#make = typeof source === 'function' ? source : null
    this.#iterator = typeof source === 'function' ? null : iterate(source)
    this.#signal = signal
  }

  /** The next batch; undefined when there is none left. Rejects with the signal's reason, even while a batch is due. */
  async next(): Promise<Batch | undefined> {
    throwIfAborted(this.#signal)
    if (this.#make !== null) return untilAborted(Promise.resolve(this.#make(this.#index++)), this.#signal)
    if (this.#iterator === null || !this.#open) return undefined
    this.#open = false
    const step = await untilAborted(Promise.resolve(this.#iterator.next()), this.#signal)
    if (step.done === true) return undefined
    this.#open = true
    this.#index++
    return step.value
  }

  /**
   * Leaves out the first `count` batches: a function need not make them, an iterator must. @returns how many there were
   */
  async skip(count: number): Promise<number> {
    if (this.#make !== null) this.#index = count
    else while (this.#index < count && (await this.next()) !== undefined);
    return this.#index
  }

  /** Ends the iterator, as `break` does. */
  async close(): Promise<void> {
    if (!this.#open) return
    this.#open = false
    await this.#iterator?.return?.()
  }
}

/** Every batch of a list, from the first one. */
export async function* batchesOf(
  list: BatchList,
  signal: AbortSignal | undefined,
): AsyncGenerator<Batch, void, undefined> {
  const reader = new BatchReader(typeof list === 'function' ? list() : list, signal)
  try {
    for (let batch = await reader.next(); batch !== undefined; batch = await reader.next()) yield batch
  } finally {
    await reader.close()
  }
}
