import { PACKED_COLUMNS, residentWeightBytes } from '../../plan/stage-arena.ts'
import type { ResidentWeight } from '../../protocol/stage.ts'
import type { TaskArray } from '../../protocol/task.ts'
import type { StageMemory } from './stage-memory.ts'

interface Entry {
  readonly version: number
  readonly address: number
  readonly bytes: number
}

/**
 * Packed weights that stay in a lane's memory from task to task. The least recently used go when there are too many.
 */
export class ResidentWeights {
  /** by last use, the oldest first */
  readonly #entries = new Map<string, Entry>()
  #bytes = 0

  constructor(private readonly memory: StageMemory) {}

  /**
   * Addresses of a stage's weights, in their order; packs those that are not there. Others go, the least recently used
   * first, where all of them together are over the limit.
   *
   * @param limits `weightBytes` in all; the memory grows past `memoryBytes` only where one stage alone needs it
   * @param scratch address of room for a few raw rows: a stage's registers, which hold as many rows of its input
   * @returns null where room is there but in pieces: all must then be laid out anew
   */
  addresses(
    weights: readonly ResidentWeight[],
    limits: { readonly weightBytes: number; readonly memoryBytes: number },
    sourceOf: (weight: ResidentWeight) => TaskArray,
    scratch: number,
  ): number[] | null {
    this.#makeRoom(weights, limits.weightBytes)
    const place = (weight: ResidentWeight): number => this.#address(weight, sourceOf(weight), scratch)
    const fits = weights.every((weight) => {
      const bytes = packedBytes(weight)
      const growth =
        this.#entries.has(keyOf(weight)) || this.memory.hasRoom(bytes) ? 0 : this.memory.bytesGrownFor(bytes)
      if (growth > limits.memoryBytes) return false
      place(weight)
      return true
    })
    return fits ? weights.map(place) : null
  }

  clear(): void {
    for (const [key, entry] of this.#entries) this.#drop(key, entry)
  }

  #makeRoom(needed: readonly ResidentWeight[], limitBytes: number): void {
    const wanted = new Map(needed.map((weight) => [keyOf(weight), weight]))
    for (const [key, entry] of this.#entries) {
      const weight = wanted.get(key)
      if (weight !== undefined && weight.version !== entry.version) this.#drop(key, entry)
    }
    const missing = [...wanted]
      .filter(([key]) => !this.#entries.has(key))
      .reduce((sum, [, weight]) => sum + packedBytes(weight), 0)
    for (const [key, entry] of this.#entries) {
      if (this.#bytes + missing <= limitBytes) return
      if (!wanted.has(key)) this.#drop(key, entry)
    }
  }

  #address(weight: ResidentWeight, source: TaskArray, scratch: number): number {
    const key = keyOf(weight)
    const known = this.#entries.get(key)
    if (known !== undefined) {
      this.#entries.delete(key)
      this.#entries.set(key, known)
      return known.address
    }
    const bytes = packedBytes(weight)
    const address = this.memory.allocate(bytes)
    this.#entries.set(key, { version: weight.version, address, bytes })
    this.#bytes += bytes
    if (weight.transposed === true) this.#packTransposed(weight, source as Float32Array, address, scratch)
    else if (weight.inSize === 1) this.#copyVector(weight, source as Float32Array, address)
    else this.#packMatrix(weight, source as Float32Array, address, scratch)
    return address
  }

  #copyVector({ offset, outSize }: ResidentWeight, source: Float32Array, address: number): void {
    const start = address >> 2
    this.memory.floats.set(source.subarray(offset, offset + outSize), start)
    this.memory.floats.fill(0, start + outSize, start + (residentWeightBytes({ outSize, inSize: 1 }) >> 2))
  }

  /** Panel after panel, through a few raw rows. */
  #packMatrix({ offset, outSize, inSize }: ResidentWeight, source: Float32Array, address: number, raw: number): void {
    for (let row = 0; row < outSize; row += PACKED_COLUMNS) {
      const rows = Math.min(PACKED_COLUMNS, outSize - row)
      this.memory.floats.set(source.subarray(offset + row * inSize, offset + (row + rows) * inSize), raw >> 2)
      this.memory.kernels.packLanes(raw, inSize, address + row * inSize * 4, rows, inSize, inSize, 1)
    }
  }

  /** The same of Wᵀ: a few raw rows become a few rows of every panel. */
  #packTransposed(
    { offset, outSize, inSize }: ResidentWeight,
    source: Float32Array,
    address: number,
    raw: number,
  ): void {
    for (let row = 0; row < outSize; row += PACKED_COLUMNS) {
      const rows = Math.min(PACKED_COLUMNS, outSize - row)
      this.memory.floats.set(source.subarray(offset + row * inSize, offset + (row + rows) * inSize), raw >> 2)
      this.memory.kernels.packPanels(raw, rows, inSize, address + row * PACKED_COLUMNS * 4, outSize)
    }
  }

  #drop(key: string, entry: Entry): void {
    this.#entries.delete(key)
    this.#bytes -= entry.bytes
    this.memory.free(entry.address)
  }
}

function keyOf({ parameter, offset, outSize, inSize, transposed }: ResidentWeight): string {
  return `${parameter}:${offset}:${outSize}:${inSize}:${transposed === true}`
}

function packedBytes({ outSize, inSize, transposed }: ResidentWeight): number {
  return residentWeightBytes(transposed === true ? { outSize: inSize, inSize: outSize } : { outSize, inSize })
}
