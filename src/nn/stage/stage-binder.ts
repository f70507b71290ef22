import type { Operands } from '../../scheduler/operands.ts'
import type { ScoreStrides } from '../../attention/broadcast.ts'
import type { ResidentWeight } from '../../protocol/stage.ts'
import { STILL, type Chunk, type Motion, type MovingHeads, type MovingSlice, type SlicesOfHeads } from '../../protocol/stage-template.ts'
import type { ArrayId, Slice, TaskArray } from '../../protocol/task.ts'
import type { Parameter } from '../../program/parameter.ts'
import { dataOf, type HeadBuffer, type RowBuffer, type StageBuffer } from './buffers.ts'

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

/** A part of a tensor before it is placed: where it starts for row 0 of batch 0, and how it moves with the chunk. */
interface MovingPart extends Motion {
  readonly array: TaskArray
  readonly offset: number
  readonly rows: number
  readonly rowStride: number
  readonly columns: number
  /** 1 where absent */
  readonly columnStride?: number
}

/**
 * Turns the buffers and parameters of a stage's steps into slices of attached arrays, and notes which arrays it needs. Over
 * shared memory they are of whole tensors; without it, copies of the parts that one chunk needs.
 */
export class StageBinder {
  readonly needs = new Set<ArrayId>()

  /** @param chunk null over shared memory: the slices serve every chunk */
  constructor(
    private readonly chunk: Chunk | null,
    private readonly operands: Operands,
  ) {}

  /** The chunk's rows of a buffer; `shift` moves them, as in a table by position. */
  rows(buffer: RowBuffer, shift = 0): MovingSlice {
    return this.#part({ array: dataOf(buffer), offset: buffer.offset(0, shift), ...motionOfRows(buffer), rows: this.#rows, rowStride: buffer.width, columns: buffer.width })
  }

  /** The chunk's rows of each head. */
  headRows(buffer: HeadBuffer): SlicesOfHeads {
    const { heads, headSize, headStride } = buffer
    return this.#ofHeads(heads, headStride, { array: dataOf(buffer), offset: 0, ...motionOfHeads(buffer), rows: this.#rows, rowStride: headSize, columns: headSize })
  }

  /** Rows [0, rows) of each head: all its keys. */
  allRows(buffer: HeadBuffer, rows: number): SlicesOfHeads {
    const { heads, headSize, headStride, purpose } = buffer
    const part = { array: dataOf(buffer), offset: 0, batchStride: motionOfHeads(buffer).batchStride, startStride: 0, rows, rowStride: headSize, columns: headSize }
    return this.#ofHeads(heads, headStride, part, (head) => `${purpose}:${this.chunk?.batch}:${head}`)
  }

  /** The chunk's rows of one number each, or all rows of the batch: segment numbers. */
  numbers(array: TaskArray, perBatch: number, ofChunk: boolean): MovingSlice {
    const motion = { offset: 0, batchStride: perBatch, startStride: ofChunk ? 1 : 0 }
    return this.#part({ array, ...motion, rows: ofChunk ? this.#rows : perBatch, rowStride: 1, columns: 1 }, ofChunk ? undefined : `segments:${this.chunk?.batch}`)
  }

  /** Rows of the scores' shape, such as a mask's, for each head. */
  overScores({ data, strides }: { readonly data: TaskArray; readonly strides: ScoreStrides }, heads: number, keys: number): SlicesOfHeads {
    const motion = { offset: 0, batchStride: strides.batch, startStride: strides.row }
    return this.#ofHeads(heads, strides.head, { array: data, ...motion, rows: this.#rows, rowStride: strides.row, columns: keys, columnStride: strides.column })
  }

  /** One slice that serves all heads, or, of copies, one each. */
  #ofHeads(heads: number, headStride: number, part: MovingPart, keyOf?: (head: number) => string): SlicesOfHeads {
    if (this.chunk === null) return { ...this.#part(part), headStride }
    return Array.from({ length: heads }, (_, head) => this.#part({ ...part, offset: part.offset + head * headStride }, keyOf?.(head)))
  }

  /** @param key names a part that several chunks use */
  #part({ batchStride, startStride, ...part }: MovingPart, key?: string): MovingSlice {
    const { chunk } = this
    const offset = chunk === null ? part.offset : part.offset + chunk.batch * batchStride + chunk.rowStart * startStride
    const slice = this.operands.slice({ columnStride: 1, ...part, offset }, key)
    this.needs.add(slice.array)
    return chunk === null ? { ...slice, batchStride, startStride } : { ...slice, ...STILL }
  }

  weight({ parameter, rowStart, outSize, inSize }: WeightPart): ResidentWeight {
    const array = this.#lasting(parameter)
    return { parameter: parameter.id, version: parameter.version, array, offset: rowStart * inSize, outSize, inSize }
  }

  /** A parameter of [rows, width] as a table of rows. */
  table(parameter: Parameter, width: number): Slice {
    return { array: this.#lasting(parameter), offset: 0, rowStride: width, columnStride: 1 }
  }

  destination(buffer: RowBuffer): MovingSlice | 'returned' {
    const array = this.#writable(buffer)
    return array === null ? 'returned' : { array, offset: 0, rowStride: buffer.width, ...motionOfRows(buffer) }
  }

  /** @param shift rows of the buffer before the chunk's first */
  headDestination(buffer: HeadBuffer, shift: number): MovingHeads | 'returned' {
    const array = this.#writable(buffer)
    const { headStride, headSize } = buffer
    return array === null ? 'returned' : { array, offset: buffer.offset(0, 0, shift), headStride, rowStride: headSize, ...motionOfHeads(buffer) }
  }

  get #rows(): number {
    return this.chunk?.rows ?? 0
  }

  #lasting({ data, version }: Parameter): ArrayId {
    const id = this.operands.lasting(data, version)
    this.needs.add(id)
    return id
  }

  /** null where one chunk's rows go back with its result. */
  #writable(buffer: StageBuffer): ArrayId | null {
    if (this.chunk !== null) return null
    const id = this.operands.whole(dataOf(buffer))
    this.needs.add(id)
    return id
  }
}

/** One batch serves all where there is only one, as in a table by position. */
function motionOfRows({ batch, rows, width }: RowBuffer): Motion {
  return { batchStride: batch === 1 ? 0 : rows * width, startStride: width }
}

function motionOfHeads({ heads, headStride, headSize }: HeadBuffer): Motion {
  return { batchStride: heads * headStride, startStride: headSize }
}
