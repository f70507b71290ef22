import type { ScoreStrides } from '../attention/broadcast.ts'
import type { ResidentWeight } from '../protocol/stage.ts'
import { STILL, type AttentionResultTemplate, type AttentionTemplate, type Chunk, type MovingHeads, type MovingScores, type MovingSlice, type StageTemplate } from '../protocol/stage-template.ts'
import type { ArrayId, Slice, TaskArray } from '../protocol/task.ts'
import type { Operands } from '../scheduler/operands.ts'
import type { Operation, Value, WeightView } from './operation.ts'
import { chosenWeights } from './operations/attend.ts'
import { ruleOf } from './operations/rules.ts'
import type { Parameter } from './parameter.ts'
import type { Stage, StageItem, StoredValue } from './partition.ts'
import type { StageStep } from './rule.ts'

/** What a lane sets aside for stages, as planned for the whole run. */
export type LaneLimits = Pick<StageTemplate, 'registerBytes' | 'residentLimitBytes'>

/** The data of a value that must be in memory by now. */
export type DataOf = (value: Value) => TaskArray

/**
 * Turns a stage into a template of plain data, and notes which arrays it needs. Over shared memory its slices are of whole
 * tensors and serve every chunk; without it they are copies of the parts that one chunk needs.
 */
export class StageBinder {
  readonly needs = new Set<ArrayId>()

  /** @param chunk null over shared memory: the slices serve every chunk */
  constructor(
    private readonly chunk: Chunk | null,
    private readonly operands: Operands,
    private readonly dataOf: DataOf,
  ) {}

  bind(stage: Stage, limits: LaneLimits): StageTemplate {
    const { registers, rows, attend } = stage
    const { registerBytes, residentLimitBytes } = limits
    return {
      sequence: rows,
      registers,
      registerBytes,
      residentLimitBytes,
      attention: attend === null ? null : this.#attention(attend),
      steps: stage.items.flatMap((item) => this.#steps(stage, item)),
    }
  }

  #steps(stage: Stage, item: StageItem): readonly StageStep[] {
    const at = (value: Value): number => stage.registerOf.get(value) ?? 0
    if (item.kind === 'load') return [{ op: 'load', to: at(item.value), from: this.#loaded(stage, item.value) }]
    if (item.kind === 'store') return [this.#store(item.stored, at(item.stored.from))]
    const { operation } = item
    const rule = ruleOf(operation)
    const reused = stage.reused.get(operation) ?? null
    const [source] = rule.inPlace ?? []
    const copies: StageStep[] = source === undefined || reused !== null ? [] : [{ op: 'copy', from: at(operation.inputs[source] as Value), to: at(operation.outputs[0] as Value) }]
    const lowering = {
      at,
      reused,
      weight: (view: WeightView) => this.#weight(view),
      rows: (value: Value, shift = 0) => this.#rows(value, shift),
      table: (parameter: Parameter) => this.#table(parameter),
    }
    return [...copies, ...rule.lower(operation, lowering)]
  }

  #loaded(stage: Stage, value: Value): MovingSlice {
    if (value.producer !== null && value.producer === stage.attend) return { array: 0, offset: 0, rowStride: value.width, ...STILL }
    return this.#rows(value, 0)
  }

  /** The chunk's rows; `shift` moves them, as in a table by position. */
  #rows(value: Value, shift: number): MovingSlice {
    const { width, layout, rows } = value
    const motion = { batchStride: layout === 'positions' ? 0 : rows * width, startStride: width }
    return this.#moving({ array: this.dataOf(value), offset: shift * width, rows: this.#chunkRows, rowStride: width, columns: width }, motion)
  }

  #moving(part: { array: TaskArray; offset: number; rows: number; rowStride: number; columns: number }, motion: { batchStride: number; startStride: number }, key?: string): MovingSlice {
    const { chunk } = this
    const offset = chunk === null ? part.offset : part.offset + chunk.batch * motion.batchStride + chunk.rowStart * motion.startStride
    const slice = this.operands.slice({ columnStride: 1, ...part, offset }, key)
    this.needs.add(slice.array)
    return chunk === null ? { ...slice, ...motion } : { ...slice, ...STILL }
  }

  /** Rows of each head: those of the chunk, or the first `count` of all. */
  #heads(value: Value, count: number | null): MovingHeads {
    const { chunk } = this
    const size = value.width / value.heads
    const headStride = value.capacity * size
    const batchStride = value.heads * headStride
    const start = chunk === null ? 0 : chunk.batch * batchStride + (count === null ? chunk.rowStart * size : 0)
    const part = { array: this.dataOf(value), offset: start, blocks: value.heads, blockStride: headStride, rows: count ?? this.#chunkRows, rowStride: size, columns: size, columnStride: 1 }
    const slice = this.operands.slice(part, count === null || chunk === null ? undefined : `${value.id}:${chunk.batch}`)
    this.needs.add(slice.array)
    const { array, offset, blockStride, rowStride } = slice
    if (chunk !== null) return { array, offset, headStride: blockStride, rowStride, ...STILL }
    return { array, offset, batchStride, headStride, rowStride, startStride: count === null ? size : 0 }
  }

  #attention(operation: Operation<'attend'>): AttentionTemplate {
    const [query, key, value] = operation.inputs as [Value, Value, Value]
    const { options, heads, keyHeads, keys, valueSize } = operation.attributes
    const { settings, queryOffset, keyLength, alibiSlopes, segments, mask, bias } = options
    return {
      settings,
      keys,
      width: heads * valueSize,
      keyLength,
      queryOffset,
      alibiSlopes,
      querySegments: segments === null ? null : this.#numbers(segments.query, query.rows, true),
      keySegments: segments === null ? null : this.#numbers(segments.key, keys, false),
      heads,
      keyHeads,
      query: this.#heads(query, null),
      key: this.#heads(key, keys),
      value: this.#heads(value, keys),
      mask: mask === null ? null : this.#scores(mask, heads, keys),
      bias: bias === null ? null : this.#scores(bias, heads, keys),
      results: operation.attributes.results.map((name, index) => this.#result(name, operation.outputs[index + 1] as Value)),
      chosen: chosenWeights(options),
    }
  }

  #result(name: AttentionResultTemplate['name'], value: Value): AttentionResultTemplate {
    const columns = value.width / value.heads
    if (this.chunk !== null) return { name, columns, to: 'returned' }
    return { name, columns, to: this.#headDestination(value, 0) }
  }

  /** The chunk's rows of one number each, or all rows of the batch: segment numbers. */
  #numbers(array: TaskArray, perBatch: number, ofChunk: boolean): MovingSlice {
    const part = { array, offset: 0, rows: ofChunk ? this.#chunkRows : perBatch, rowStride: 1, columns: 1 }
    return this.#moving(part, { batchStride: perBatch, startStride: ofChunk ? 1 : 0 }, ofChunk ? undefined : `segments:${this.chunk?.batch}`)
  }

  /** Rows of the scores' shape, such as a mask's, for each head. */
  #scores({ data, strides }: { readonly data: TaskArray; readonly strides: ScoreStrides }, heads: number, keys: number): MovingScores {
    const { chunk } = this
    const offset = chunk === null ? 0 : chunk.batch * strides.batch + chunk.rowStart * strides.row
    const slice = this.operands.slice({ array: data, offset, blocks: heads, blockStride: strides.head, rows: this.#chunkRows, rowStride: strides.row, columns: keys, columnStride: strides.column })
    this.needs.add(slice.array)
    const { array, rowStride, columnStride = 1, blockStride } = slice
    const motion = chunk === null ? { batchStride: strides.batch, startStride: strides.row } : STILL
    return { array, offset: slice.offset, headStride: blockStride, rowStride, columnStride, ...motion }
  }

  #weight({ parameter, rowStart, outSize, inSize, transposed }: WeightView): ResidentWeight {
    const array = this.#lasting(parameter)
    return { parameter: parameter.id, version: parameter.version, array, offset: rowStart * inSize, outSize, inSize, ...(transposed === undefined ? {} : { transposed }) }
  }

  /** A parameter of [rows, width] as a table of rows. */
  #table(parameter: Parameter): Slice {
    return { array: this.#lasting(parameter), offset: 0, rowStride: parameter.shape[1] ?? 1, columnStride: 1 }
  }

  #store({ to, shift }: StoredValue, from: number): StageStep {
    const heads = to.layout === 'heads'
    if (this.chunk !== null) return heads ? { op: 'store-heads', from, heads: to.heads, to: 'returned' } : { op: 'store', from, to: 'returned' }
    if (heads) return { op: 'store-heads', from, heads: to.heads, to: this.#headDestination(to, shift) }
    return { op: 'store', from, to: { array: this.#written(to), offset: 0, rowStride: to.width, batchStride: to.rows * to.width, startStride: to.width } }
  }

  /** @param shift rows of the value before the chunk's first */
  #headDestination(to: Value, shift: number): MovingHeads {
    const size = to.width / to.heads
    const headStride = to.capacity * size
    return { array: this.#written(to), offset: shift * size, batchStride: to.heads * headStride, headStride, rowStride: size, startStride: size }
  }

  get #chunkRows(): number {
    return this.chunk?.rows ?? 0
  }

  #lasting({ data, version }: Parameter): ArrayId {
    const id = this.operands.lasting(data, version)
    this.needs.add(id)
    return id
  }

  #written(value: Value): ArrayId {
    const id = this.operands.whole(this.dataOf(value))
    this.needs.add(id)
    return id
  }
}
