import { untilAborted } from '../core/abort.ts'
import { checkInteger, expected } from '../core/check.ts'
import { OptionError } from '../core/errors.ts'
import { checkedProduct } from '../core/integers.ts'
import { allocate } from '../core/ledger.ts'
import { probeSharedMemory } from '../core/shared-memory.ts'
import type { Graph } from '../program/graph.ts'
import type { Value } from '../program/operation.ts'

export interface KeyValueCacheSizes {
  readonly batch: number
  readonly keyValueHeads: number
  /** rows that there is room for */
  readonly capacity: number
  readonly headSize: number
}

/** What is known of a call once it is over. */
interface Ended {
  readonly report: { readonly retries: number }
}

/** The room that a call took in a cache. */
interface Reservation {
  /** settles when the calls before it are over */
  readonly turn: Promise<void>
  /** the call begins: the cache's memory is its own */
  begin(): void
  /** the call is over: its rows count if it gave a result */
  end(result: Ended | null): void
}

/**
 * Keys and values of the rows that an attention layer has seen: bytes 2·B·Hkv·capacity·D·4. Calls on one cache run in the
 * order in which they were made; each takes its room at once. A call that fails leaves the rows as they were.
 */
export class KeyValueCache {
  #key: Float32Array
  #value: Float32Array
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
    this.#key = cacheArray(bytes)
    this.#value = cacheArray(bytes)
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

  /** Its memory, [B, Hkv, capacity, D] each, of which the first `length` rows of every head count; it can move between calls. */
  get memory(): { readonly key: Float32Array; readonly value: Float32Array } {
    return { key: this.#key, value: this.#value }
  }

  /** @internal Rows that a call which is made now will find, if the calls before it succeed. */
  get upcomingLength(): number {
    return this.#length + this.#pendingRows
  }

  /** @internal Its first `rows` rows as values of a graph, [B, rows, Hkv·D]. */
  values(graph: Graph, rows: number): { readonly key: Value; readonly value: Value } {
    const { batch, keyValueHeads: heads, capacity, headSize } = this.sizes
    const sizes = { batch, rows, width: heads * headSize }
    const storage = { layout: 'heads' as const, heads, capacity }
    return { key: graph.input('cached keys', sizes, this.#key, storage), value: graph.input('cached values', sizes, this.#value, storage) }
  }

  /** @internal Takes room for `rows` rows behind those of the calls before. */
  reserve(rows: number): Reservation {
    const turn = this.#allOver
    let over: () => void = () => undefined
    const end = new Promise<void>((resolve) => (over = resolve))
    this.#allOver = turn.then(() => end)
    this.#pendingRows += rows
    this.#pendingCalls++
    return {
      turn,
      begin: () => {
        if (this.#shaky) this.#moveAway()
        this.#shaky = true
      },
      end: (result) => {
        if (result !== null) {
          this.#shaky = result.report.retries > 0
          this.#length += rows
        }
        this.#pendingRows -= rows
        this.#pendingCalls--
        over()
      },
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
    const { batch, keyValueHeads, capacity, headSize } = this.sizes
    const moved = (data: Float32Array): Float32Array => {
      const copy = cacheArray(data.byteLength)
      for (let head = 0; head < batch * keyValueHeads; head++) {
        const start = head * capacity * headSize
        copy.set(data.subarray(start, start + this.#length * headSize), start)
      }
      return copy
    }
    const [key, value] = [moved(this.#key), moved(this.#value)]
    this.#key = key
    this.#value = value
    this.#shaky = false
  }
}

/** @throws {OptionError} unless these are different caches that hold the same number of rows, those of calls under way included */
export function checkCaches(what: string, caches: readonly KeyValueCache[]): void {
  const other: unknown = caches.find((cache) => !(cache instanceof KeyValueCache))
  if (other !== undefined) throw expected(what, 'caches made by createCache or createCaches', other)
  if (new Set(caches).size < caches.length) throw new OptionError(`${what}: expected a cache of its own per block, got one of them twice`)
  const lengths = new Set(caches.map(({ upcomingLength }) => upcomingLength))
  if (lengths.size > 1) throw new OptionError(`${what}: expected caches that hold the same number of rows, got ${[...lengths].join(' and ')}`)
}

/**
 * Runs a call that writes `rows` rows behind the last ones of these caches, when the calls before it are over. Its room is
 * taken at once.
 *
 * @throws what `run` throws, or the signal's reason while it waits; the caches then hold what they held
 */
export async function appendRows<Result extends Ended>(caches: readonly KeyValueCache[], rows: number, signal: AbortSignal | undefined, run: () => Promise<Result>): Promise<Result> {
  const reservations = caches.map((cache) => cache.reserve(rows))
  let result: Result | null = null
  try {
    await untilAborted(Promise.all(reservations.map(({ turn }) => turn)), signal)
    for (const reservation of reservations) reservation.begin()
    return (result = await run())
  } finally {
    for (const reservation of reservations) reservation.end(result)
  }
}

function cacheArray(bytes: number): Float32Array {
  return new Float32Array(allocate('key/value cache', bytes, probeSharedMemory().available))
}
