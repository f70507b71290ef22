import type { Ledger } from '../core/ledger.ts'
import type { KeySegment } from '../plan/key-segments.ts'
import type { BiasGradient } from '../protocol/backward-task.ts'
import type { ArrayId, Destination } from '../protocol/task.ts'
import { biasGradientKind } from './bias-kind.ts'
import type { ScoreStrides } from './broadcast.ts'

interface Place {
  readonly batch: number
  readonly head: number
  readonly segment: KeySegment
}

/**
 * The gradient of the bias on its way: a matrix goes to its place at once, sums wait and are added in the order of the
 * tasks.
 */
export class BiasResult {
  readonly kind: BiasGradient
  readonly data: Float32Array
  readonly #rows: number
  readonly #sums: { readonly place: Place; data: Float32Array | null }[] = []

  /** @param id of `data` where lanes write a matrix in place */
  constructor(
    private readonly strides: ScoreStrides,
    { rows, elements }: { readonly rows: number; readonly elements: number },
    memory: { readonly ledger: Ledger; readonly shared: boolean; readonly sumBytes: number },
    private readonly whole: ((array: Float32Array) => ArrayId) | null,
  ) {
    this.kind = biasGradientKind(strides)
    this.#rows = rows
    this.data = memory.ledger.array('bias gradient', Float32Array, elements, memory.shared)
    memory.ledger.add('bias sums', memory.sumBytes)
  }

  /** Where a task puts what it has for one head. */
  destination({ batch, head, segment }: Place): Destination {
    if (this.kind !== 'matrix' || this.whole === null) return true
    const { strides } = this
    const offset = this.#offset(batch, head) + segment.keyStart * strides.column
    return { array: this.whole(this.data), offset, rowStride: strides.row, columnStride: strides.column }
  }

  /** Announces what will come, in the order in which it is added. Returns what takes it. */
  expect(place: Place): (data: Float32Array) => void {
    if (this.kind === 'matrix') return (data) => this.#placeMatrix(place, data)
    const sum: { readonly place: Place; data: Float32Array | null } = { place, data: null }
    this.#sums.push(sum)
    return (data) => (sum.data = data)
  }

  /** Adds the sums, in float64. */
  finish(): void {
    if (this.kind === 'matrix') return
    const total = new Float64Array(this.data.length)
    for (const {
      place: { batch, head, segment },
      data,
    } of this.#sums) {
      const start = this.#offset(batch, head)
      // A segment's first diagonal is that of its first key and the last row: element `keyStart` of the head's.
      const [step, first] =
        this.kind === 'rows' ? [this.strides.row, 0] : [this.strides.column, segment.keyStart * this.strides.column]
      data?.forEach((value, index) => ((total[start + first + index * step] as number) += value))
    }
    this.data.set(total)
  }

  #placeMatrix({ batch, head, segment: { keyStart, keyEnd } }: Place, data: Float32Array): void {
    const { row, column } = this.strides
    const width = keyEnd - keyStart
    for (let r = 0; r < this.#rows; r++) {
      this.data.set(data.subarray(r * width, (r + 1) * width), this.#offset(batch, head) + r * row + keyStart * column)
    }
  }

  #offset(batch: number, head: number): number {
    return batch * this.strides.batch + head * this.strides.head
  }
}
