import { untilAborted } from '../core/abort.ts'
import { checkInteger, expected } from '../core/check.ts'
import { OptionError } from '../core/errors.ts'
import { checkedProduct } from '../core/integers.ts'
import { allocate } from '../core/ledger.ts'
import { probeSharedMemory } from '../core/shared-memory.ts'
import type { Graph } from '../program/graph.ts'
import type { Value } from '../program/operation.ts'

/** What a `KeyValueCache` has room for. */
export interface KeyValueCacheSizes {
  /** B: how many sequences */
  readonly batch: number
  /** Hkv */
  readonly keyValueHeads: number
  /** rows that there is room for */
  readonly capacity: number
  /** D */
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
 * Keys and values of the rows that an attention layer has seen: bytes 2·B·Hkv·capacity·D·4. The sequences of a batch
 * may have different lengths. Calls on one cache run in the order in which they were made; each takes its room at once.
 * A call that fails leaves the rows as they were.
 *
 * @example
 * ```js
 * import { tensor } from 'heddle'
 * import { TransformerBlock } from 'heddle/nn'
 *
 * const block = new TransformerBlock({ modelDim: 64, heads: 4, seed: 1 })
 * const cache = block.createCache(1, 100) // one sequence of up to 100 rows
 * for (const rows of [10, 1, 1]) await block.forward(tensor(new Float32Array(rows * 64), [rows, 64]), { cache })
 * console.log(cache.length) // 12
 * ```
 */
export class KeyValueCache {
  #key: Float32Array
  #value: Float32Array
  /** rows of each sequence */
  readonly #lengths: Int32Array
  /** rows of calls that are not over yet, by sequence, and how many calls those are */
  readonly #pendingRows: Int32Array
  #pendingCalls = 0
  /** settles when all calls so far are over */
  #allOver: Promise<void> = Promise.resolve()
  /** whether a lane that was given up may still write to the memory */
  #shaky = false

  /** @throws {OptionError} for wrong sizes; {MemoryBudgetError} when the engine refuses the allocation */
  constructor(
    /** what there is room for */
    readonly sizes: KeyValueCacheSizes,
  ) {
    const { batch, keyValueHeads, capacity, headSize } = sizes
    for (const [name, size] of Object.entries(sizes) as [string, number][])
      checkInteger(`KeyValueCache: ${name}`, size, 1)
    const bytes = checkedProduct([batch, keyValueHeads, capacity, headSize, 4], 'KeyValueCache')
    this.#key = cacheArray(bytes)
    this.#value = cacheArray(bytes)
    this.#lengths = new Int32Array(batch)
    this.#pendingRows = new Int32Array(batch)
  }

  /** Rows that it holds of the longest sequence. */
  get length(): number {
    return Math.max(...this.#lengths)
  }

  /** Rows that it holds of each sequence, [B]; a copy. */
  get lengths(): Int32Array {
    return this.#lengths.slice()
  }

  /**
   * Forgets the rows at and past `length`, as for another continuation.
   *
   * @param length of every sequence, which leaves shorter ones as they are; or one entry per sequence
   * @throws {OptionError} unless each length is from 0 to the rows that it holds, and while a call on the cache is
   *   under way
   */
  truncate(length: number | readonly number[] | Int32Array): void {
    const each = typeof length === 'number' ? null : Array.from(length)
    if (each === null) checkInteger('KeyValueCache: length', length, 0, this.length)
    else if (each.length !== this.sizes.batch)
      throw new OptionError(`KeyValueCache: expected ${this.sizes.batch} lengths, one per sequence, got ${each.length}`)
    each?.forEach((own, b) => checkInteger(`KeyValueCache: length ${b}`, own, 0, this.#lengths[b]))
    if (this.#pendingCalls > 0)
      throw new OptionError(
        `KeyValueCache: expected truncate between calls, got it while ${this.#pendingCalls} were under way`,
      )
    this.#lengths.forEach(
      (held, b) => (this.#lengths[b] = each === null ? Math.min(held, length as number) : (each[b] ?? held)),
    )
  }

  /**
   * Its memory, [B, Hkv, capacity, D] each, of which the first `lengths[b]` rows of every head of sequence b count; it
   * can move between calls.
   */
  get memory(): {
    /** [B, Hkv, capacity, D] */
    readonly key: Float32Array
    /** [B, Hkv, capacity, D] */
    readonly value: Float32Array
  } {
    return { key: this.#key, value: this.#value }
  }

  /** @internal Rows of each sequence that a call which is made now will find, if the calls before it succeed. */
  get upcomingLengths(): readonly number[] {
    return Array.from(this.#lengths, (length, b) => length + (this.#pendingRows[b] ?? 0))
  }

  /** @internal Its first `rows` rows as values of a graph, [B, rows, Hkv·D]. */
  values(graph: Graph, rows: number): { readonly key: Value; readonly value: Value } {
    const { batch, keyValueHeads: heads, capacity, headSize } = this.sizes
    const sizes = { batch, rows, width: heads * headSize }
    const storage = { layout: 'heads' as const, heads, capacity }
    return {
      key: graph.input('cached keys', sizes, this.#key, storage),
      value: graph.input('cached values', sizes, this.#value, storage),
    }
  }

  /** @internal Takes room behind the rows of the calls before. @param counts rows of each sequence that will count */
  reserve(counts: readonly number[]): Reservation {
    const turn = this.#allOver
    let over: () => void = () => undefined
    const end = new Promise<void>((resolve) => (over = resolve))
    this.#allOver = turn.then(() => end)
    counts.forEach((count, b) => (this.#pendingRows[b] = (this.#pendingRows[b] ?? 0) + count))
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
          counts.forEach((count, b) => (this.#lengths[b] = (this.#lengths[b] ?? 0) + count))
        }
        counts.forEach((count, b) => (this.#pendingRows[b] = (this.#pendingRows[b] ?? 0) - count))
        this.#pendingCalls--
        over()
      },
    }
  }

  /**
   * @param what the call, for the message
   * @param batch B
   * @param keyValueHeads Hkv
   * @param headSize D
   * @param rows how many rows the call adds to each sequence
   * @throws {OptionError} unless `rows` more rows of a layer of these sizes fit behind those of the calls under way
   */
  checkRoom(what: string, batch: number, keyValueHeads: number, headSize: number, rows: number): void {
    const { sizes } = this
    if (sizes.batch !== batch || sizes.keyValueHeads !== keyValueHeads || sizes.headSize !== headSize) {
      const has = `batch ${sizes.batch}, ${sizes.keyValueHeads} heads of ${sizes.headSize}`
      throw new OptionError(
        `${what}: expected a cache for batch ${batch}, ${keyValueHeads} heads of ${headSize}, got one for ${has}`,
      )
    }
    const upcoming = this.upcomingLengths
    const taken = Math.max(...upcoming)
    if (taken + rows > sizes.capacity) {
      const waiting = this.#pendingRows[upcoming.indexOf(taken)] ?? 0
      const pending = waiting === 0 ? '' : `, ${waiting} of them by calls under way`
      throw new OptionError(
        `${what}: expected room for ${rows} rows in the cache, got ${taken} of ${sizes.capacity} taken${pending}`,
      )
    }
  }

  /**
   * Leaves the memory to the lane that may still write to it. @throws {MemoryBudgetError} when the engine refuses the
   * allocation
   */
  #moveAway(): void {
    const { batch, keyValueHeads, capacity, headSize } = this.sizes
    const moved = (data: Float32Array): Float32Array => {
      const copy = cacheArray(data.byteLength)
      for (let head = 0; head < batch * keyValueHeads; head++) {
        const start = head * capacity * headSize
        const rows = this.#lengths[Math.floor(head / keyValueHeads)] ?? 0
        copy.set(data.subarray(start, start + rows * headSize), start)
      }
      return copy
    }
    const [key, value] = [moved(this.#key), moved(this.#value)]
    this.#key = key
    this.#value = value
    this.#shaky = false
  }
}

/**
 * @throws {OptionError} unless these are different caches that hold the same number of rows, those of calls under way
 * included
 */
export function checkCaches(what: string, caches: readonly KeyValueCache[]): void {
  const other: unknown = caches.find((cache) => !(cache instanceof KeyValueCache))
  if (other !== undefined) throw expected(what, 'caches made by createCache or createCaches', other)
  if (new Set(caches).size < caches.length)
    throw new OptionError(`${what}: expected a cache of its own per block, got one of them twice`)
  const lengths = new Set(
    caches.map(({ upcomingLengths }) =>
      [...new Set(upcomingLengths)].length === 1 ? `${upcomingLengths[0]}` : `[${upcomingLengths.join(', ')}]`,
    ),
  )
  if (lengths.size > 1)
    throw new OptionError(
      `${what}: expected caches that hold the same number of rows, got ${[...lengths].join(' and ')}`,
    )
}

/**
 * Runs a call that writes behind the last rows of these caches, when the calls before it are over. Its room is taken at
 * once.
 *
 * @param counts rows of each sequence that count once it is over
 * @throws what `run` throws, or the signal's reason while it waits; the caches then hold what they held
 */
export async function appendRows<Result extends Ended>(
  caches: readonly KeyValueCache[],
  counts: readonly number[],
  signal: AbortSignal | undefined,
  run: () => Promise<Result>,
): Promise<Result> {
  const reservations = caches.map((cache) => cache.reserve(counts))
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
