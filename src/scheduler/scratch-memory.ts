import type { ArrayClass, ArraySource, Ledger, Purpose } from '../core/ledger.ts'
import { matchKept, SMALLEST_KEPT_BYTES } from '../plan/kept-buffers.ts'

/** Of a machine whose memory is not known. */
const DEFAULT_MACHINE_BYTES = 2 ** 31

/** A buffer that so many calls in a row did not use is let go: calls of another shape have come. */
const MOST_IDLE_CALLS = 8

/** What a runtime may keep: its memory budget, and no more than a quarter of the machine's memory. */
export function keptLimitBytes(budgetBytes: number | undefined, machineBytes: number | undefined): number {
  return Math.min(budgetBytes ?? Infinity, (machineBytes ?? DEFAULT_MACHINE_BYTES) / 4)
}

/**
 * Shared memory that calls used for themselves and later calls use again: copies of plain inputs, tensors between the
 * stages of layers; not standard mode's score matrix: what grows with n² is not held. Engines do not count shared
 * memory when they decide to collect, and a worker's reference keeps it as well: without this, each call's scratch
 * stays until something else makes them collect.
 */
export class ScratchMemory {
  /** the least recently used first; `idleCalls` began since it was used */
  #kept: { readonly buffer: SharedArrayBuffer; idleCalls: number }[] = []
  #closed = false

  /** @param limitBytes never more than that is kept between calls */
  constructor(private readonly limitBytes: number) {}

  /** Bytes of each kept buffer, for plans. */
  get sizes(): number[] {
    return this.#kept.map(({ buffer }) => buffer.byteLength)
  }

  /**
   * Memory for one call, which takes the kept buffers that serve its needs.
   *
   * @param needs bytes of each array that it will ask for
   * @param keptBytes what the call's plan leaves of the kept buffers; where they are more, all of them are dropped
   */
  open(needs: readonly number[], keptBytes: number, ledger: Ledger): CallMemory {
    if (matchKept(needs, this.sizes).leftBytes > keptBytes) this.clear()
    const { taken, dropped, leftBytes } = matchKept(needs, this.sizes)
    const buffers = new Map<number, SharedArrayBuffer[]>()
    for (const { index, bytes } of taken) {
      const buffer = this.#kept[index]?.buffer
      if (buffer !== undefined) buffers.set(bytes, [...(buffers.get(bytes) ?? []), buffer])
    }
    const indices = new Set([...dropped, ...taken.map(({ index }) => index)])
    this.#kept = this.#kept.filter((_, index) => !indices.has(index))
    for (const left of this.#kept) left.idleCalls++
    if (leftBytes > 0) ledger.add('kept buffers', leftBytes)
    return new CallMemory(this, buffers, ledger)
  }

  /**
   * A call is over: keeps these for later calls. The oldest go where there are too many, and those that nobody uses.
   */
  keep(buffers: readonly SharedArrayBuffer[]): void {
    if (this.#closed) return
    const more = buffers
      .filter((buffer) => buffer.byteLength <= this.limitBytes)
      .map((buffer) => ({ buffer, idleCalls: 0 }))
    this.#kept = [...this.#kept.filter(({ idleCalls }) => idleCalls < MOST_IDLE_CALLS), ...more]
    let bytes = this.sizes.reduce((sum, size) => sum + size, 0)
    while (bytes > this.limitBytes) bytes -= this.#kept.shift()?.buffer.byteLength ?? bytes
  }

  /** Lets go of everything. Returns whether there was anything. */
  clear(): boolean {
    const had = this.#kept.length > 0
    this.#kept = []
    return had
  }

  close(): void {
    this.#closed = true
    this.clear()
  }
}

/**
 * One call's scratch. Its arrays hold what an earlier call left in them: whoever takes one writes it before reading it.
 */
export class CallMemory implements ArraySource {
  readonly #used: { readonly buffer: SharedArrayBuffer; readonly read: boolean }[] = []

  constructor(
    private readonly owner: ScratchMemory,
    private readonly reserved: Map<number, SharedArrayBuffer[]>,
    private readonly ledger: Ledger,
  ) {}

  array<A extends ArrayBufferView>(purpose: Purpose, Class: ArrayClass<A>, length: number, shared: boolean): A {
    const bytes = length * Class.BYTES_PER_ELEMENT
    const buffer = shared ? this.reserved.get(bytes)?.pop() : undefined
    const array = buffer === undefined ? this.#fresh(purpose, Class, length, shared) : new Class(buffer, 0, length)
    if (buffer !== undefined) this.ledger.add(purpose, bytes)
    if (shared && bytes >= SMALLEST_KEPT_BYTES)
      this.#used.push({ buffer: array.buffer as SharedArrayBuffer, read: purpose === 'input copies' })
    return array
  }

  /**
   * The call is over: later calls may have its buffers.
   *
   * @param clean whether every task came back from the one lane that it was given to; else a lane that was cancelled or
   *   lost may still write, and only what lanes read is kept
   */
  release(clean: boolean): void {
    const unused = [...this.reserved.values()].flat()
    this.owner.keep([...unused, ...this.#used.filter(({ read }) => clean || read).map(({ buffer }) => buffer)])
    this.reserved.clear()
    this.#used.length = 0
  }

  /** Where the engine refuses, what is kept may be what it lacks. */
  #fresh<A>(purpose: Purpose, Class: ArrayClass<A>, length: number, shared: boolean): A {
    try {
      return this.ledger.array(purpose, Class, length, shared)
    } catch (error) {
      if (!this.owner.clear()) throw error
      return this.ledger.array(purpose, Class, length, shared)
    }
  }
}
