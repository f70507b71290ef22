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
  /** row-major; after changing elements, call `touch` */
  readonly data: Float32Array
  #version = 0

  /**
   * Zeros of `shape`.
   *
   * @param shape sizes of the axes, outermost first
   * @throws {ShapeError} past 2³¹ − 1 elements; {MemoryBudgetError} when the engine refuses the allocation
   */
  constructor(shape: readonly number[]) {
    this.shape = [...shape]
    const bytes = checkedProduct([...shape, 4], 'parameter')
    if (bytes > 4 * MOST_ELEMENTS)
      throw new ShapeError(`parameter: expected up to ${MOST_ELEMENTS} elements, got ${formatShape(shape)}`)
    this.data = new Float32Array(allocate('parameter', bytes, probeSharedMemory().available))
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
