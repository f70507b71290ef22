import { checkInteger } from '../core/check.ts'
import { OptionError } from '../core/errors.ts'
import { checkedProduct } from '../core/integers.ts'
import { allocate } from '../core/ledger.ts'
import { probeSharedMemory } from '../core/shared-memory.ts'
import { dataOf, HeadBuffer } from './stage/buffers.ts'

export interface KeyValueCacheSizes {
  readonly batch: number
  readonly keyValueHeads: number
  /** rows that there is room for */
  readonly capacity: number
  readonly headSize: number
}

/** What a forward pass needs of a cache: its memory, and how many rows stand before those of the pass. */
export interface CachedRows {
  readonly key: HeadBuffer
  readonly value: HeadBuffer
  readonly length: number
}

/** What is known of a call once it is over. */
interface Ended {
  readonly report: { readonly retries: number }
}

/**
 * Keys and values of the rows that an attention layer has seen: bytes 2·B·Hkv·capacity·D·4. Calls on one cache run in the
 * order in which they were made; each takes its room at once. A call that fails leaves the rows as they were.
 */
export class KeyValueCache implements CachedRows {
  readonly key: HeadBuffer
  readonly value: HeadBuffer
  #length = 0
  /** rows of calls that are not over yet, and how many calls those are */
  #pendingRows = 0
  #pendingCalls = 0
  /** settles when all calls so far are over */
  #allOver: Promise<void> = Promise.resolve()
  /** whether a lane that was given up may still write to the memory */
  #shaky = false

  /** @throws {OptionError} for wrong sizes; {MemoryBudgetError} when the engine refuses the allocation */
  constructor(readonly sizes: KeyValueCacheSizes) {
    const { batch, keyValueHeads, capacity, headSize } = sizes
    for (const [name, size] of Object.entries(sizes) as [string, number][]) checkInteger(`KeyValueCache: ${name}`, size, 1)
    const bytes = checkedProduct([batch, keyValueHeads, capacity, headSize, 4], 'KeyValueCache')
    this.key = new HeadBuffer('cached keys', batch, keyValueHeads, capacity, headSize, cacheArray(bytes))
    this.value = new HeadBuffer('cached values', batch, keyValueHeads, capacity, headSize, cacheArray(bytes))
  }

  /** Rows that it holds. */
  get length(): number {
    return this.#length
  }

  /**
   * Forgets the rows at and past `length`, as for another continuation.
   *
   * @throws {OptionError} unless `length` is from 0 to the rows that it holds, and while a call on the cache is under way
   */
  truncate(length: number): void {
    checkInteger('KeyValueCache: length', length, 0, this.#length)
    if (this.#pendingCalls > 0) throw new OptionError(`KeyValueCache: expected truncate between calls, got it while ${this.#pendingCalls} were under way`)
    this.#length = length
  }

  /** @internal The cache as a call that is made now will find it, if the calls before it succeed. */
  upcoming(): CachedRows {
    return { key: this.key, value: this.value, length: this.#length + this.#pendingRows }
  }

  /**
   * @internal Runs a call that writes `rows` rows behind the last one, when the calls before it are over.
   *
   * @param run is given the rows that the cache then holds: fewer than was `upcoming` if a call before it failed
   * @throws what `run` throws, or the signal's reason while it waits; the cache then holds what it held
   */
  async append<Result extends Ended>(rows: number, signal: AbortSignal | undefined, run: (length: number) => Promise<Result>): Promise<Result> {
    const turn = this.#allOver
    let over: () => void = () => undefined
    const end = new Promise<void>((resolve) => (over = resolve))
    this.#allOver = turn.then(() => end)
    this.#pendingRows += rows
    this.#pendingCalls++
    try {
      await beforeAbort(turn, signal)
      if (this.#shaky) this.#moveAway()
      this.#shaky = true
      const result = await run(this.#length)
      this.#shaky = result.report.retries > 0
      this.#length += rows
      return result
    } finally {
      this.#pendingRows -= rows
      this.#pendingCalls--
      over()
    }
  }

  /** @throws {OptionError} unless `rows` more rows of a layer of these sizes fit behind those of the calls under way */
  checkRoom(what: string, batch: number, keyValueHeads: number, headSize: number, rows: number): void {
    const { sizes } = this
    if (sizes.batch !== batch || sizes.keyValueHeads !== keyValueHeads || sizes.headSize !== headSize) {
      const has = `batch ${sizes.batch}, ${sizes.keyValueHeads} heads of ${sizes.headSize}`
      throw new OptionError(`${what}: expected a cache for batch ${batch}, ${keyValueHeads} heads of ${headSize}, got one for ${has}`)
    }
    const taken = this.#length + this.#pendingRows
    if (taken + rows > sizes.capacity) {
      const pending = this.#pendingRows === 0 ? '' : `, ${this.#pendingRows} of them by calls under way`
      throw new OptionError(`${what}: expected room for ${rows} rows in the cache, got ${taken} of ${sizes.capacity} taken${pending}`)
    }
  }

  /** Leaves the memory to the lane that may still write to it. @throws {MemoryBudgetError} when the engine refuses the allocation */
  #moveAway(): void {
    const copies = [this.key, this.value].map((buffer) => {
      const data = dataOf(buffer)
      const copy = cacheArray(data.byteLength)
      for (let head = 0; head < buffer.batch * buffer.heads; head++) {
        const start = head * buffer.headStride
        copy.set(data.subarray(start, start + this.#length * buffer.headSize), start)
      }
      return copy
    })
    ;[this.key.data = null, this.value.data = null] = copies
    this.#shaky = false
  }
}

function cacheArray(bytes: number): Float32Array {
  return new Float32Array(allocate('key/value cache', bytes, probeSharedMemory().available))
}

/** Settles with `turn`, which never fails, or fails with the signal's reason if that comes first. */
function beforeAbort(turn: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return turn
  return new Promise((resolve, reject) => {
    // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- a caller may abort with any reason
    const abort = (): void => reject(signal.reason)
    if (signal.aborted) return abort()
    signal.addEventListener('abort', abort, { once: true })
    void turn.then(() => {
      signal.removeEventListener('abort', abort)
      resolve()
    })
  })
}
