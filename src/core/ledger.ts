import { MemoryBudgetError } from './errors.ts'
import { countSharedBytes } from './shared-pressure.ts'

/** What bytes are held for, as plans and reports list them. */
export type Purpose =
  // Results.
  | 'output'
  | 'log-sum-exp'
  | 'entropy'
  | 'largest weight'
  | 'largest index'
  | 'mean distance'
  | 'weights'
  | 'score matrix'
  | 'details'
  | 'query gradient'
  | 'key gradient'
  | 'value gradient'
  | 'bias gradient'
  // What a call keeps between its tasks.
  | 'activations'
  | 'partials'
  | 'gradient slots'
  | 'bias sums'
  | 'claims'
  | 'input copies'
  | 'kept buffers'
  // What lanes hold, and what is on its way to them and back.
  | 'lane arenas'
  | 'lane copies'
  | 'head copies'
  | 'in flight'

/** Bytes by what they are for. */
export type BytesByPurpose = Readonly<Partial<Record<Purpose, number>>>

/** What the counting allocator saw of a call. */
export interface MemoryReport {
  /** the plan's upper bound */
  readonly plannedBytes: number
  /** the most that was allocated at one time, without the caller's inputs and the parameters of layers */
  readonly peakBytes: number
  /** the peak of each purpose, such as `output` */
  readonly peakByPurpose: BytesByPurpose
}

export function sumOfBytes(bytes: BytesByPurpose): number {
  return Object.values(bytes).reduce((total, count) => total + count, 0)
}

/** A typed array class, as the ledger makes arrays of it. */
export interface ArrayClass<A> {
  new (buffer: ArrayBuffer | SharedArrayBuffer, byteOffset?: number, length?: number): A
  readonly BYTES_PER_ELEMENT: number
}

/** Where a call's arrays come from: its ledger, or memory that an earlier call used, counted by the ledger. */
export interface ArraySource {
  array<A extends ArrayBufferView>(purpose: Purpose, Class: ArrayClass<A>, length: number, shared: boolean): A
}

/**
 * The counting allocator of one call: every buffer that Heddle makes goes through it, or is announced to it by the lane
 * that made it. Its peak is what a report states and what a plan promises.
 */
export class Ledger implements ArraySource {
  #current = 0
  #peak = 0
  readonly #byPurpose = new Map<Purpose, { current: number; peak: number }>()

  /** Zeros, in shared memory where `shared`. @throws {MemoryBudgetError} with its `cause` when the engine refuses */
  array<A>(purpose: Purpose, Class: ArrayClass<A>, length: number, shared: boolean): A {
    const bytes = length * Class.BYTES_PER_ELEMENT
    const array = new Class(allocate(purpose, bytes, shared))
    this.add(purpose, bytes)
    return array
  }

  /** Counts bytes that were made elsewhere, such as a lane's arena or a transferred copy. */
  add(purpose: Purpose, bytes: number): void {
    if (bytes === 0) return
    const entry = this.#byPurpose.get(purpose) ?? { current: 0, peak: 0 }
    entry.current += bytes
    entry.peak = Math.max(entry.peak, entry.current)
    this.#byPurpose.set(purpose, entry)
    this.#current += bytes
    this.#peak = Math.max(this.#peak, this.#current)
  }

  /** Takes bytes off that were freed or handed on. */
  remove(purpose: Purpose, bytes: number): void {
    this.add(purpose, -bytes)
  }

  get peakBytes(): number {
    return this.#peak
  }

  /** Each purpose's own peak; their sum may exceed the peak of the whole. */
  get peakByPurpose(): BytesByPurpose {
    return Object.fromEntries([...this.#byPurpose].map(([purpose, entry]) => [purpose, entry.peak]))
  }
}

const LARGEST_BYTES = 2 ** 43

/** Zeroed memory. `new ArrayBuffer(NaN)` would make 0 bytes without a word, so sizes are checked here once more. */
export function allocate(purpose: string, bytes: number, shared: boolean): ArrayBuffer | SharedArrayBuffer {
  try {
    if (!Number.isSafeInteger(bytes) || bytes < 0) throw new RangeError(`${bytes} is no number of bytes`)
    // An engine asked for more than any host has would first collect garbage, for tens of milliseconds.
    if (bytes > LARGEST_BYTES) throw new RangeError(`${bytes} bytes are more than any host has`)
    if (!shared) return new ArrayBuffer(bytes)
    countSharedBytes(bytes)
    return new SharedArrayBuffer(bytes)
  } catch (cause) {
    throw new MemoryBudgetError(`${purpose}: expected room for ${bytes} bytes, but the engine refused the allocation`, {
      cause,
      details: { purpose, bytes },
    })
  }
}
