import { MemoryBudgetError } from '../../core/errors.ts'
import { roundUp } from '../../core/integers.ts'
import { stageArenaStart } from '../../plan/stage-arena.ts'

/**
 * What the row-wise kernels export: shapes stand with each in assembly/row-….ts and pack.ts. Pointers are byte
 * addresses.
 */
export interface RowKernels {
  packLanes(from: number, stride: number, to: number, rows: number, width: number, step: number, factor: number): void
  linearRows(
    x: number,
    rows: number,
    inSize: number,
    panels: number,
    bias: number,
    y: number,
    outSize: number,
    scratch: number,
  ): void
  normRows(x: number, rows: number, size: number, weight: number, bias: number, epsilon: number, y: number): void
  addRows(x: number, count: number, y: number): void
  activateRows(x: number, count: number, activation: number): void
  normaliseRows(x: number, rows: number, size: number, epsilon: number, y: number): void
  normBackwardRows(x: number, dy: number, rows: number, size: number, weight: number, epsilon: number, dx: number): void
  activateBackwardRows(x: number, count: number, activation: number, dy: number): void
  subtractRows(x: number, count: number, y: number): void
  multiplyRows(x: number, count: number, y: number): void
  scaleRows(y: number, count: number, factor: number): void
  sumColumns(x: number, rows: number, width: number, to: number): void
  packPanels(from: number, rows: number, width: number, to: number, stride: number): void
  packQuads(from: number, rows: number, width: number, to: number, stride: number): void
  outerRows(
    quads: number,
    panels: number,
    rows: number,
    outSize: number,
    inSize: number,
    sums: number,
    scratch: number,
  ): void
  gatherHeads(from: number, rows: number, heads: number, headSize: number, to: number, add: boolean): void
  scatterHeads(from: number, rows: number, heads: number, headSize: number, to: number): void
  headDots(a: number, b: number, rows: number, heads: number, headSize: number, to: number): void
  dropRows(
    x: number,
    rows: number,
    width: number,
    row: number,
    batch: number,
    site: number,
    threshold: number,
    keepScale: number,
    seedLow: number,
    seedHigh: number,
  ): void
  rotateRows(
    x: number,
    rows: number,
    width: number,
    headSize: number,
    turned: number,
    angles: number,
    direction: 1 | -1,
  ): void
  foldRows(x: number, rows: number, groups: number, size: number, to: number): void
  rmsNormRows(x: number, rows: number, size: number, weight: number, epsilon: number, y: number): void
  rmsNormaliseRows(x: number, rows: number, size: number, epsilon: number, y: number): void
  rmsNormBackwardRows(
    x: number,
    dy: number,
    rows: number,
    size: number,
    weight: number,
    epsilon: number,
    dx: number,
  ): void
  crossEntropyRows(
    logits: number,
    rows: number,
    size: number,
    targets: number,
    ignoreIndex: number,
    smoothing: number,
    loss: number,
    logSumExp: number,
  ): void
  crossEntropyBackwardRows(
    logits: number,
    rows: number,
    size: number,
    targets: number,
    ignoreIndex: number,
    smoothing: number,
    logSumExp: number,
    dLoss: number,
  ): void
  squaredErrorRows(x: number, y: number, rows: number, width: number, loss: number): void
}

const PAGE_BYTES = 65_536

/**
 * A lane's second linear memory, for stages: registers and packed weights, allocated first fit; it grows and never
 * shrinks.
 */
export class StageMemory {
  readonly kernels: RowKernels
  readonly #memory: WebAssembly.Memory
  /** free ranges, by address */
  readonly #free: { start: number; bytes: number }[] = []
  readonly #taken = new Map<number, number>()
  #floats: Float32Array

  /** @throws {MemoryBudgetError} when the engine refuses the memory */
  constructor(module: WebAssembly.Module) {
    this.#memory = createMemory()
    this.kernels = new WebAssembly.Instance(module, { env: { memory: this.#memory } }).exports as unknown as RowKernels
    this.#floats = new Float32Array(this.#memory.buffer)
    this.#free.push({ start: stageArenaStart, bytes: PAGE_BYTES - stageArenaStart })
  }

  get bytes(): number {
    return this.#memory.buffer.byteLength
  }

  /** The memory as floats; growing replaces it. */
  get floats(): Float32Array {
    return this.#floats
  }

  /** Whether `allocate` would find room without growing. */
  hasRoom(bytes: number): boolean {
    return this.#free.some((range) => range.bytes >= rounded(bytes))
  }

  /** Bytes of the memory once it has grown by as little as makes room for `bytes` at its end. */
  bytesGrownFor(bytes: number): number {
    return this.bytes + this.#pagesFor(rounded(bytes)) * PAGE_BYTES
  }

  /**
   * The address of `bytes` bytes, 16-byte aligned, not cleared. @throws {MemoryBudgetError} when the engine refuses to
   * grow
   */
  allocate(bytes: number): number {
    const wanted = rounded(bytes)
    if (!this.hasRoom(wanted)) this.#grow(wanted)
    const index = this.#free.findIndex((range) => range.bytes >= wanted)
    const range = this.#free[index]
    if (range === undefined) throw new Error('stage memory: no room after it grew')
    const { start } = range
    range.start += wanted
    range.bytes -= wanted
    if (range.bytes === 0) this.#free.splice(index, 1)
    this.#taken.set(start, wanted)
    return start
  }

  free(address: number): void {
    const bytes = this.#taken.get(address)
    if (bytes === undefined) return
    this.#taken.delete(address)
    this.#release(address, bytes)
  }

  #release(start: number, bytes: number): void {
    const next = this.#free.findIndex((range) => range.start > start)
    const index = next < 0 ? this.#free.length : next
    this.#free.splice(index, 0, { start, bytes })
    this.#join(index)
    if (index > 0) this.#join(index - 1)
  }

  /** Makes one range of this and the next where they touch. */
  #join(index: number): void {
    const [range, next] = [this.#free[index], this.#free[index + 1]]
    if (range === undefined || next === undefined || range.start + range.bytes !== next.start) return
    range.bytes += next.bytes
    this.#free.splice(index + 1, 1)
  }

  #pagesFor(wanted: number): number {
    const last = this.#free.at(-1)
    const tail = last !== undefined && last.start + last.bytes === this.bytes ? last.bytes : 0
    return Math.ceil((wanted - tail) / PAGE_BYTES)
  }

  /** By as little as makes room for `wanted` bytes at the end. */
  #grow(wanted: number): void {
    const pages = this.#pagesFor(wanted)
    const end = this.bytes
    try {
      this.#memory.grow(pages)
    } catch (cause) {
      throw new MemoryBudgetError(`lane: expected ${wanted} more bytes for weights, but the engine refused`, {
        cause,
        details: { bytes: wanted },
      })
    }
    this.#floats = new Float32Array(this.#memory.buffer)
    this.#release(end, pages * PAGE_BYTES)
  }
}

function rounded(bytes: number): number {
  return Math.max(16, roundUp(bytes, 16))
}

function createMemory(): WebAssembly.Memory {
  try {
    return new WebAssembly.Memory({ initial: 1 })
  } catch (cause) {
    throw new MemoryBudgetError('lane: expected room for a linear memory, but the engine refused it', { cause })
  }
}
