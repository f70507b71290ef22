import { PARAMETERS } from '../../../assembly/abi.ts'
import { MemoryBudgetError } from '../../core/errors.ts'

/** What the kernels of attention and of its gradients export: shapes and units stand with each in assembly/. */
export interface Kernels {
  attendTile(): number
  attendHeads(
    heads: number,
    flags: number,
    query: number,
    key: number,
    value: number,
    output: number,
    sign: number,
    keepScale: number,
  ): number
  packLanes(from: number, stride: number, to: number, rows: number, width: number, step: number, factor: number): void
  resetGroups(state: number, output: number, groups: number, valueSize: number): void
  finaliseGroups(
    output: number,
    state: number,
    to: number,
    groups: number,
    valueSize: number,
    keepScale: number,
    inverse: boolean,
  ): void
  packKeys(from: number, to: number, keys: number, headSize: number): void
  packValues(from: number, to: number, keys: number, valueSize: number): void
  hasExtremes(from: number, count: number): number
  packPanels(from: number, rows: number, width: number, to: number, stride: number): void
  scaleFloats(at: number, count: number, factor: number): void
  scaleEachRow(x: number, stride: number, rows: number, factors: number): void
  dotRows(a: number, strideA: number, b: number, strideB: number, rows: number, width: number, to: number): void
  backwardTile(): number
  scoreGradientTile(): number
  transposedTile(): number
}

/** One lane's linear memory, of constant size, and the kernels over it. */
export class Arena {
  readonly kernels = {} as Kernels
  readonly floats: Float32Array
  readonly integers: Int32Array
  readonly octets: Uint8Array

  readonly #memory: WebAssembly.Memory

  /** @param bytes a multiple of 64 KiB @throws {MemoryBudgetError} when the engine refuses the memory */
  constructor(
    modules: readonly WebAssembly.Module[],
    readonly bytes: number,
  ) {
    this.#memory = createMemory(bytes)
    const { buffer } = this.#memory
    this.floats = new Float32Array(buffer)
    this.integers = new Int32Array(buffer)
    this.octets = new Uint8Array(buffer)
    for (const module of modules) this.add(module)
  }

  /** Kernels beside those that are there. */
  add(module: WebAssembly.Module): void {
    Object.assign(this.kernels, new WebAssembly.Instance(module, { env: { memory: this.#memory } }).exports)
  }

  /** Sets a word of the parameter block; `parameter` is one of abi.ts's P_…. */
  setInteger(parameter: number, value: number): void {
    this.integers[(PARAMETERS + parameter) >> 2] = value
  }

  setFloat(parameter: number, value: number): void {
    this.floats[(PARAMETERS + parameter) >> 2] = value
  }
}

function createMemory(bytes: number): WebAssembly.Memory {
  const pages = bytes / 65536
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages })
  } catch (cause) {
    throw new MemoryBudgetError(`lane arena: expected room for ${bytes} bytes, but the engine refused the allocation`, {
      cause,
      details: { bytes },
    })
  }
}
