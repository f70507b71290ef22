import type { Operands } from '../../attention/operands.ts'
import type { HeadSlice, ResidentWeight, RowDestination } from '../../protocol/stage.ts'
import type { ArrayId, Slice, TaskArray } from '../../protocol/task.ts'
import type { Parameter } from '../parameter.ts'
import { dataOf, type Chunk, type HeadBuffer, type RowBuffer } from './buffers.ts'

/** A part of a parameter as a stage uses it: `outSize` rows of `inSize` from row `rowStart`; a vector has inSize 1. */
export interface WeightPart {
  readonly parameter: Parameter
  readonly rowStart: number
  readonly outSize: number
  readonly inSize: number
}

/** The whole of a matrix [out, in] or a vector [out]. */
export function wholeWeight(parameter: Parameter): WeightPart {
  return { parameter, rowStart: 0, outSize: parameter.shape[0] ?? 1, inSize: parameter.shape[1] ?? 1 }
}

/** Each part of a parameter once, however many steps use it. */
export function distinctWeights(parts: readonly WeightPart[]): WeightPart[] {
  return [...new Map(parts.map((part) => [`${part.parameter.id}:${part.rowStart}:${part.outSize}`, part])).values()]
}

/** Turns the buffers and parameters of one chunk's steps into slices of attached arrays, and notes which arrays it needs. */
export class StageBinder {
  readonly needs = new Set<ArrayId>()

  constructor(
    readonly chunk: Chunk,
    private readonly operands: Operands,
    private readonly inPlace: boolean,
  ) {}

  /** The chunk's rows of a buffer; `shift` moves them, as in a table by position. */
  rows(buffer: RowBuffer, shift = 0): Slice {
    const { batch, rowStart, rows } = this.chunk
    return this.part(dataOf(buffer), buffer.offset(batch % buffer.batch, rowStart + shift), rows, buffer.width, buffer.width)
  }

  /** The chunk's rows of one head. */
  headRows(buffer: HeadBuffer, head: number): Slice {
    const { batch, rowStart, rows } = this.chunk
    return this.part(dataOf(buffer), buffer.offset(batch, head, rowStart), rows, buffer.headSize, buffer.headSize)
  }

  /** Rows [0, rows) of one head: all its keys. */
  allRows(buffer: HeadBuffer, head: number, rows: number): Slice {
    const { batch } = this.chunk
    const offset = buffer.offset(batch, head, 0)
    return this.part(dataOf(buffer), offset, rows, buffer.headSize, buffer.headSize, `${buffer.purpose}:${batch}:${head}`)
  }

  part(array: TaskArray, offset: number, rows: number, rowStride: number, columns: number, key?: string, columnStride = 1): Slice {
    const slice = this.operands.slice({ array, offset, rows, rowStride, columns, columnStride }, key)
    this.needs.add(slice.array)
    return slice
  }

  weight({ parameter, rowStart, outSize, inSize }: WeightPart): ResidentWeight {
    const array = this.#lasting(parameter)
    return { parameter: parameter.id, version: parameter.version, array, offset: rowStart * inSize, outSize, inSize }
  }

  /** A parameter of [rows, width] as a table of rows. */
  table(parameter: Parameter, width: number): Slice {
    return { array: this.#lasting(parameter), offset: 0, rowStride: width, columnStride: 1 }
  }

  #lasting({ data, version }: Parameter): ArrayId {
    const id = this.operands.lasting(data, version)
    this.needs.add(id)
    return id
  }

  destination(buffer: RowBuffer): RowDestination {
    if (!this.inPlace) return 'returned'
    const array = this.operands.destination(dataOf(buffer))
    this.needs.add(array)
    return { array, offset: buffer.offset(this.chunk.batch, this.chunk.rowStart), rowStride: buffer.width }
  }

  headDestination(buffer: HeadBuffer, rowStart: number): HeadSlice | 'returned' {
    if (!this.inPlace) return 'returned'
    const array = this.operands.destination(dataOf(buffer))
    this.needs.add(array)
    return { array, offset: buffer.offset(this.chunk.batch, 0, rowStart), headStride: buffer.headStride, rowStride: buffer.headSize }
  }
}
