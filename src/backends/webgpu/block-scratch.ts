import { gpuBufferBytes, gpuScratchBytes, type GpuBlockSizes } from '../../plan/gpu-memory.ts'
import type { GpuDevice } from './gpu-device.ts'

type ScratchName = keyof ReturnType<typeof gpuScratchBytes>

/** The buffers that a block works in, sized by `gpuScratchBytes` or larger. */
export type BlockScratch = Readonly<Record<ScratchName, GPUBuffer>>

/**
 * Scratch that one block after the other works in, instead of allocating its own: as many sets as there are tasks at
 * once.
 */
export class ScratchPool {
  readonly #gpu: GpuDevice
  readonly #sizes = new Map<BlockScratch, Readonly<Record<ScratchName, number>>>()
  readonly #idle: BlockScratch[] = []
  /** sets that are in use and must not come back */
  readonly #retired = new Set<BlockScratch>()

  constructor(gpu: GpuDevice) {
    this.#gpu = gpu
  }

  get bytes(): number {
    return [...this.#sizes.values()].reduce(
      (sum, sizes) => sum + Object.values(sizes).reduce((a, b) => a + gpuBufferBytes(b), 0),
      0,
    )
  }

  /**
   * A set for a block. Whoever takes it gives it back with `put`, or with `drop` when a result is still being read from
   * it.
   */
  take(block: Pick<GpuBlockSizes, 'rows' | 'slots'>, valueSize: number): BlockScratch {
    const wanted = gpuScratchBytes(block, valueSize)
    const names = Object.keys(wanted) as ScratchName[]
    const fitting = this.#idle.findIndex((set) =>
      names.every((name) => (this.#sizes.get(set)?.[name] ?? 0) >= wanted[name]),
    )
    if (fitting >= 0) return this.#idle.splice(fitting, 1)[0] as BlockScratch
    this.#freeIdle()
    const set = this.#make(names, wanted)
    this.#sizes.set(set, wanted)
    return set
  }

  put(set: BlockScratch): void {
    if (this.#retired.delete(set)) this.drop(set)
    else this.#idle.push(set)
  }

  drop(set: BlockScratch): void {
    this.#retired.delete(set)
    this.#sizes.delete(set)
    this.#gpu.free(...Object.values(set))
  }

  /** Gives the memory back: at once what is idle, the rest when it comes back. */
  release(): void {
    this.#freeIdle()
    for (const set of this.#sizes.keys()) this.#retired.add(set)
  }

  #freeIdle(): void {
    for (const set of this.#idle.splice(0)) this.drop(set)
  }

  #make(names: readonly ScratchName[], sizes: Readonly<Record<ScratchName, number>>): BlockScratch {
    const made: GPUBuffer[] = []
    try {
      const entries = names.map((name) => {
        const buffer = name === 'staging' ? this.#gpu.staging(name, sizes[name]) : this.#gpu.storage(name, sizes[name])
        made.push(buffer)
        return [name, buffer] as const
      })
      return Object.fromEntries(entries) as Record<ScratchName, GPUBuffer>
    } catch (error) {
      this.#gpu.free(...made)
      throw error
    }
  }
}
