import { roundUp } from '../../core/integers.ts'
import { GPU_CACHE_BYTES, gpuBufferBytes, gpuRowBytes, gpuSegmentKeys } from '../../plan/gpu-memory.ts'
import type { ArrayId, Slice, TaskArray } from '../../protocol/task.ts'
import { largestMagnitude } from './finite.ts'
import type { GpuDevice } from './gpu-device.ts'
import { LARGEST_HALF, packHalf } from './half.ts'
import { packRows } from './pack-rows.ts'

/** Keys or values [segment start, + keys) of one head on the device, rows padded to vectors of four. */
export interface Resident {
  readonly buffer: GPUBuffer
  readonly byteLength: number
  /** the largest |x|; Infinity when there is a NaN or an infinity */
  readonly largest: number
  /** stored as float16 */
  readonly half: boolean
}

/**
 * Keys and values of the heads that a lane works on, uploaded once and kept until released or until others need the
 * room.
 */
export class KeyValueCache {
  readonly #gpu: GpuDevice
  readonly #half: boolean
  readonly #onWide: () => void
  readonly #mostBytes: number
  #cacheBytes: number
  // A Map keeps insertion order: the first entry is the one used longest ago.
  readonly #entries = new Map<string, Resident & { readonly id: ArrayId }>()
  #bytes = 0

  /** @param half whether to store float16; values that it does not hold stay float32, and `onWide` hears of it */
  constructor(gpu: GpuDevice, cacheBytes = GPU_CACHE_BYTES, half = false, onWide: () => void = () => undefined) {
    this.#gpu = gpu
    this.#half = half
    this.#onWide = onWide
    this.#mostBytes = cacheBytes
    this.#cacheBytes = cacheBytes
  }

  get bytes(): number {
    return this.#bytes
  }

  /** What a plan grants from here on; undefined: all that the lane may have. */
  limit(bytes: number | undefined): void {
    this.#cacheBytes = Math.min(this.#mostBytes, bytes ?? Infinity)
  }

  segmentKeys(columns: number): number {
    return gpuSegmentKeys(this.#gpu.facts, columns, this.#cacheBytes)
  }

  /** Rows [first, first + count) of `slice`, `columns` wide. */
  get(array: TaskArray, slice: Slice, columns: number, first: number, count: number): Resident {
    const name = [slice.array, slice.offset, slice.rowStride, slice.columnStride ?? 1, columns, first, count].join(':')
    const cached = this.#entries.get(name)
    if (cached !== undefined) {
      this.#entries.delete(name)
      this.#entries.set(name, cached)
      return cached
    }
    const made = this.#half
      ? this.#uploadHalf(array, slice, columns, first, count)
      : this.#upload(array, slice, columns, first, count)
    const entry = { id: slice.array, ...made }
    this.#entries.set(name, entry)
    this.#bytes += made.byteLength
    return entry
  }

  release(ids: readonly ArrayId[]): void {
    for (const [name, entry] of [...this.#entries]) if (ids.includes(entry.id)) this.#drop(name, entry)
  }

  #upload(array: TaskArray, slice: Slice, columns: number, first: number, count: number): Resident {
    const stride = roundUp(columns, 4)
    const byteLength = gpuBufferBytes(count * gpuRowBytes(columns))
    this.#makeRoom(byteLength)
    let largest = 0
    const buffer = this.#gpu.upload('key-value', byteLength, (mapped) => {
      const target = new Float32Array(mapped, 0, count * stride)
      packRows(array, slice, { first, count }, { first: 0, count: columns }, { data: target, stride: stride })
      largest = largestMagnitude(target)
    })
    return { buffer, byteLength, largest, half: false }
  }

  #uploadHalf(array: TaskArray, slice: Slice, columns: number, first: number, count: number): Resident {
    const packed = new Float32Array(count * roundUp(columns, 4))
    packRows(
      array,
      slice,
      { first, count },
      { first: 0, count: columns },
      { data: packed, stride: roundUp(columns, 4) },
    )
    const largest = largestMagnitude(packed)
    if (largest > LARGEST_HALF) {
      if (largest < Infinity) this.#onWide()
      return this.#upload(array, slice, columns, first, count)
    }
    const byteLength = gpuBufferBytes(count * gpuRowBytes(columns, true))
    this.#makeRoom(byteLength)
    const buffer = this.#gpu.upload('key-value', byteLength, (mapped) =>
      packHalf(packed, new Uint32Array(mapped, 0, packed.length / 2)),
    )
    return { buffer, byteLength, largest, half: true }
  }

  #makeRoom(byteLength: number): void {
    for (const [name, entry] of [...this.#entries]) {
      if (this.#bytes + byteLength <= this.#cacheBytes) return
      this.#drop(name, entry)
    }
  }

  #drop(name: string, entry: Resident): void {
    this.#entries.delete(name)
    this.#bytes -= entry.byteLength
    this.#gpu.free(entry.buffer)
  }
}
