import { roundUp } from '../../core/integers.ts'
import type { ResidentWeight } from '../../protocol/stage.ts'
import type { TaskContext } from '../backend.ts'
import { TILE } from './constants.ts'
import { largestMagnitude } from './finite.ts'
import type { GpuDevice } from './gpu-device.ts'
import { packRows } from './pack-rows.ts'
import { NonFiniteInput } from './signals.ts'

/** Rows [first, first + count) of a weight on the device: all of them, unless they pass the device's limits. */
export interface WeightPart {
  readonly buffer: GPUBuffer
  readonly first: number
  readonly count: number
}

interface Entry {
  readonly version: number
  readonly parts: readonly WeightPart[]
  readonly bytes: number
}

/** Weights that stay on the device until their parameter has another version, or others need the room. */
export class ResidentWeights {
  readonly #gpu: GpuDevice
  // A Map keeps insertion order: the first entry is the one used longest ago.
  readonly #entries = new Map<string, Entry>()
  #bytes = 0

  constructor(gpu: GpuDevice) {
    this.#gpu = gpu
  }

  /** A matrix [outSize, inSize], rows padded to vectors of four. @throws {NonFiniteInput} */
  matrix(weight: ResidentWeight, context: TaskContext): readonly WeightPart[] {
    const rowBytes = roundUp(weight.inSize, 4) * 4
    const most = Math.max(TILE, Math.floor(this.#gpu.largestBufferBytes / rowBytes / TILE) * TILE)
    return this.#resident('matrix', weight, () => {
      const starts = Array.from({ length: Math.ceil(weight.outSize / most) }, (_, part) => part * most)
      return starts.map((first) =>
        this.#upload(weight, context, first, Math.min(most, weight.outSize - first), weight.inSize),
      )
    })
  }

  /** A vector of outSize elements, padded with zeros to vectors of four. @throws {NonFiniteInput} */
  vector(weight: ResidentWeight, context: TaskContext): GPUBuffer {
    const parts = this.#resident('vector', weight, () => [this.#upload(weight, context, 0, 1, weight.outSize)])
    return (parts[0] as WeightPart).buffer
  }

  /** Drops what was used longest ago, down to `limitBytes`; what `keep` names stays. */
  trim(limitBytes: number, keep: readonly ResidentWeight[]): void {
    const kept = new Set(keep.flatMap((weight) => [nameOf('matrix', weight), nameOf('vector', weight)]))
    for (const [name, entry] of [...this.#entries]) {
      if (this.#bytes <= limitBytes) return
      if (!kept.has(name)) this.#drop(name, entry)
    }
  }

  #resident(form: 'matrix' | 'vector', weight: ResidentWeight, upload: () => WeightPart[]): readonly WeightPart[] {
    const name = nameOf(form, weight)
    const cached = this.#entries.get(name)
    if (cached !== undefined) {
      this.#entries.delete(name)
      if (cached.version === weight.version) {
        this.#entries.set(name, cached)
        return cached.parts
      }
      this.#drop(name, cached)
    }
    const before = this.#gpu.residentBytes
    const parts = upload()
    const bytes = this.#gpu.residentBytes - before
    this.#entries.set(name, { version: weight.version, parts, bytes })
    this.#bytes += bytes
    return parts
  }

  #upload(weight: ResidentWeight, context: TaskContext, first: number, count: number, columns: number): WeightPart {
    const stride = roundUp(columns, 4)
    const slice = { array: weight.array, offset: weight.offset, rowStride: columns }
    const buffer = this.#gpu.upload('weight', count * stride * 4, (mapped) => {
      const target = new Float32Array(mapped, 0, count * stride)
      packRows(
        context.array(weight.array),
        slice,
        { first, count },
        { first: 0, count: columns },
        { data: target, stride: stride },
      )
      if (largestMagnitude(target) === Infinity) throw new NonFiniteInput('a weight')
    })
    return { buffer, first, count }
  }

  #drop(name: string, entry: Entry): void {
    this.#entries.delete(name)
    this.#bytes -= entry.bytes
    this.#gpu.free(...entry.parts.map((part) => part.buffer))
  }
}

function nameOf(form: 'matrix' | 'vector', { parameter, offset, outSize, inSize }: ResidentWeight): string {
  return [form, parameter, offset, outSize, inSize].join(':')
}
