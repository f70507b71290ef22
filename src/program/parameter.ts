import { ShapeError } from '../core/errors.ts'
import { checkedProduct } from '../core/integers.ts'
import { allocate } from '../core/ledger.ts'
import { probeSharedMemory } from '../core/shared-memory.ts'
import { formatShape, type Tensor } from '../core/tensor.ts'

let nextParameterId = 1
/**
 * Beyond, engines refuse typed arrays or take seconds to find out, and no lane's 4 GiB of WebAssembly memory holds it.
 */
const MOST_ELEMENTS = 2 ** 31 - 1

/**
 * A learned tensor. Its elements stand in shared memory where that can be had, so that lanes read them without a copy.
 * A lane packs a parameter once and keeps it until `version` changes.
 */
export class Parameter implements Tensor {
  /** never used twice in a process */
  readonly id: number = nextParameterId++
  /** sizes of the axes, outermost first */
  readonly shape: readonly number[]
  /** how many elements it has; asking does not allocate them */
  readonly elements: number
  #data: Float32Array | null = null
  #version = 0

  /**
   * Zeros of `shape`, which take no memory until `data` is first read.
   *
   * @param shape sizes of the axes, outermost first
   * @throws {ShapeError} past 2³¹ − 1 elements
   */
  constructor(shape: readonly number[]) {
    this.shape = [...shape]
    this.elements = checkedProduct(shape, 'parameter')
    if (this.elements > MOST_ELEMENTS)
      throw new ShapeError(`parameter: expected up to ${MOST_ELEMENTS} elements, got ${formatShape(shape)}`)
  }

  /**
   * Row-major. After changing elements, call `touch`.
   *
   * @throws {MemoryBudgetError} when it is read for the first time and the engine refuses the allocation
   */
  get data(): Float32Array {
    const bytes = 4 * this.elements
    return (this.#data ??= new Float32Array(allocate('parameter', bytes, probeSharedMemory().available)))
  }

  /** how often `touch` was called: lanes keep copies of weights by it */
  get version(): number {
    return this.#version
  }

  /** Says that `data` was changed: lanes pack it again at the next use. */
  touch(): void {
    this.#version++
  }
}
