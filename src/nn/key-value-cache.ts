import { checkInteger } from '../core/check.ts'
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

/** Keys and values of the rows that an attention layer has seen: bytes 2·B·Hkv·capacity·D·4. */
export class KeyValueCache {
  readonly #key: Float32Array
  readonly #value: Float32Array
  #length = 0

  /** @throws {OptionError} for wrong sizes; {MemoryBudgetError} when the engine refuses the allocation */
  constructor(readonly sizes: KeyValueCacheSizes) {
    const { batch, keyValueHeads, capacity, headSize } = sizes
    for (const [name, size] of Object.entries(sizes) as [string, number][]) checkInteger(`KeyValueCache: ${name}`, size, 1)
    const bytes = checkedProduct([batch, keyValueHeads, capacity, headSize, 4], 'KeyValueCache')
    const array = (): Float32Array => new Float32Array(allocate('key/value cache', bytes, probeSharedMemory().available))
    this.#key = array()
    this.#value = array()
  }

  /** @internal What it holds, as values of a graph [B, length, Hkv·D]. */
  values(graph: Graph): { readonly key: Value; readonly value: Value } {
    const { batch, keyValueHeads: heads, capacity, headSize } = this.sizes
    const sizes = { batch, rows: this.#length, width: heads * headSize }
    const storage = { layout: 'heads' as const, heads, capacity }
    return { key: graph.input('cached keys', sizes, this.#key, storage), value: graph.input('cached values', sizes, this.#value, storage) }
  }

  /** Rows that it holds. */
  get length(): number {
    return this.#length
  }

  /** Forgets the rows at and past `length`, as for another continuation. */
  truncate(length: number): void {
    checkInteger('KeyValueCache: length', length, 0, this.#length)
    this.#length = length
  }

  /** @internal Rows were written behind the last one. */
  grow(rows: number): void {
    this.#length += rows
  }

  /** @throws {OptionError} unless `rows` more rows of a layer of these sizes fit */
  checkRoom(what: string, batch: number, keyValueHeads: number, headSize: number, rows: number): void {
    const { sizes } = this
    if (sizes.batch !== batch || sizes.keyValueHeads !== keyValueHeads || sizes.headSize !== headSize) {
      const has = `batch ${sizes.batch}, ${sizes.keyValueHeads} heads of ${sizes.headSize}`
      throw new OptionError(`${what}: expected a cache for batch ${batch}, ${keyValueHeads} heads of ${headSize}, got one for ${has}`)
    }
    if (this.#length + rows > sizes.capacity) {
      throw new OptionError(`${what}: expected room for ${rows} rows in the cache, got ${this.#length} of ${sizes.capacity} taken`)
    }
  }
}
