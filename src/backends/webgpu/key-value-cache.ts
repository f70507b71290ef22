import { roundUp } from '../../core/integers.ts'
import { GPU_CACHE_BYTES } from '../../plan/attention-plan.ts'
import type { ArrayId, Slice, TaskArray } from '../../protocol/task.ts'
import { TILE } from './constants.ts'
import { largestMagnitude } from './finite.ts'
import type { GpuDevice } from './gpu-device.ts'
import { packRows } from './pack-rows.ts'

/** Keys or values [segment start, + keys) of one head on the device, rows padded to vectors of four. */
export interface Resident {
  readonly buffer: GPUBuffer
  readonly byteLength: number
  /** the largest |x|; Infinity when there is a NaN or an infinity */
  readonly largest: number
}

/** A buffer larger than this is split although the device would take it: an upload must not hold the lane for long. */
const LARGEST_SEGMENT_BYTES = 64 * 2 ** 20

/** Keys and values of the heads that a lane works on, uploaded once and kept until released or until others need the room. */
export class KeyValueCache {
  readonly #gpu: GpuDevice
  readonly #cacheBytes: number
  // A Map keeps insertion order: the first entry is the one used longest ago.
  readonly #entries = new Map<string, Resident & { readonly id: ArrayId }>()
  #bytes = 0

  constructor(gpu: GpuDevice, cacheBytes = GPU_CACHE_BYTES) {
    this.#gpu = gpu
    this.#cacheBytes = cacheBytes
  }

  /** Keys a segment: a multiple of the tile, so that no buffer passes the device's limits. */
  segmentKeys(columns: number): number {
    const rowBytes = Math.ceil(columns / 4) * 16
    // A pass needs a key and a value segment at once: each may take half of the room.
    const bytes = Math.min(this.#gpu.largestBufferBytes, LARGEST_SEGMENT_BYTES, this.#cacheBytes / 2)
    return Math.max(TILE, Math.floor(bytes / rowBytes / TILE) * TILE)
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
    const stride = roundUp(columns, 4)
    const byteLength = count * stride * 4
    this.#makeRoom(byteLength)
    let largest = 0
    const buffer = this.#gpu.upload('key-value', byteLength, (mapped) => {
      const target = new Float32Array(mapped, 0, count * stride)
      packRows(array, slice, { first, count }, { first: 0, count: columns }, target, stride)
      largest = largestMagnitude(target)
    })
    const entry = { id: slice.array, buffer, byteLength, largest }
    this.#entries.set(name, entry)
    this.#bytes += byteLength
    return entry
  }

  release(ids: readonly ArrayId[]): void {
    for (const [name, entry] of [...this.#entries]) if (ids.includes(entry.id)) this.#drop(name, entry)
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
