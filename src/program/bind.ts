import type { ScoreStrides } from '../attention/broadcast.ts'
import type { BatchSlice, HeadSlice, ResidentWeight, SlabSlice } from '../protocol/stage.ts'
import { STILL, type MovingHeads, type MovingScores, type MovingSlice } from '../protocol/moving-slice.ts'
import type { AttentionResultTemplate, AttentionTemplate, StageTemplate } from '../protocol/stage-template.ts'
import type { Chunk } from '../protocol/chunk.ts'
import type { ArrayId, Slice, TaskArray } from '../protocol/task.ts'
import type { Operands } from '../scheduler/operands.ts'
import type { Operation, Value, WeightView } from './operation.ts'
import { chosenWeights } from './operations/attend.ts'
import { ruleOf } from './operations/rules.ts'
import type { Parameter } from './parameter.ts'
import type { StageStep } from './rule.ts'
import type { StageItem, StoredValue } from './stage-item.ts'
import type { RowStage } from './stage.ts'

/** What a lane sets aside for stages, as planned for the whole run. */
export type LaneLimits = Pick<StageTemplate, 'registerBytes' | 'residentLimitBytes' | 'withoutGpu'>

/** These alone: they go to the lanes. */
export function laneLimits({ registerBytes, residentLimitBytes, withoutGpu }: LaneLimits): LaneLimits {
  return { registerBytes, residentLimitBytes, ...(withoutGpu === undefined ? {} : { withoutGpu }) }
}

/** Where the values of a program are. */
export interface ValuePlaces {
  /** the data of a value that must be in memory by now */
  dataOf(value: Value): TaskArray
  /** the array under which lanes see a value as a whole */
  idOf(value: Value): ArrayId
}

/**
 * Turns a stage into a template of plain data, and notes which arrays it needs. Where lanes see whole tensors its
 * slices serve every chunk; else they are copies of the parts that one chunk needs.
 */
export class StageBinder {
  readonly needs = new Set<ArrayId>()

  /** @param chunk null where lanes see whole tensors */
  constructor(
    private readonly chunk: Chunk | null,
    private readonly operands: Operands,
    private readonly places: ValuePlaces,
  ) {}

  bind(stage: RowStage, limits: LaneLimits): StageTemplate {
    const { registers, rows, attend } = stage
    return {
      sequence: rows,
      registers,
      ...limits,
      attention: attend === null ? null : this.#attention(stage, attend),
      steps: stage.items.flatMap((item) => this.#steps(stage, item)),
    }
  }

  #steps(stage: RowStage, item: StageItem): readonly StageStep[] {
    const at = (value: Value): number => stage.registerOf.get(value) ?? 0
    if (item.kind === 'load') return [this.#load(stage, item.value, at(item.value))]
    if (item.kind === 'store') return [this.#store(item.stored, at(item.stored.from))]
    const { operation } = item
    const rule = ruleOf(operation)
    const reused = stage.reused.get(operation) ?? null
    const [source] = rule.inPlace ?? []
    const copies: StageStep[] =
      source === undefined || reused !== null
        ? []
        : [{ op: 'copy', from: at(operation.inputs[source] as Value), to: at(operation.outputs[0] as Value) }]
    const lowering = {
      at,
      reused,
      weight: (view: WeightView) => this.#weight(view),
      rows: (value: Value, shift = 0) => this.#rows(value, shift),
      whole: (value: Value) => this.#allRows(value),
      table: (parameter: Parameter) => this.#table(parameter),
    }
    return [...copies, ...rule.lower(operation, lowering)]
  }

  #load(stage: RowStage, value: Value, to: number): StageStep {
    if (value.producer !== null && value.producer === stage.attend)
      return { op: 'load', to, from: { array: 0, offset: 0, rowStride: value.width, ...STILL } }
    if (value.layout !== 'heads') return { op: 'load', to, from: this.#rows(value, 0) }
    const slotStride = value.batch * value.capacity * value.width
    return { op: 'load-heads', to, heads: value.heads, from: this.#heads(value, null), slots: value.slots, slotStride }
  }

  /** The chunk's rows; `shift` moves them, as in a table by position. */
  #rows(value: Value, shift: number): MovingSlice {
    const { width, layout, rows } = value
    const motion = { batchStride: layout === 'positions' ? 0 : rows * width, startStride: width }
    if (this.chunk === null)
      return { array: this.whole(value), offset: shift * width, rowStride: width, columnStride: 1, ...motion }
    return this.#copied(
      {
        array: this.places.dataOf(value),
        offset: shift * width,
        rows: this.chunk.rows,
        rowStride: width,
        columns: width,
      },
      motion,
    )
  }

  /** All rows of every batch, or a copy of those of the chunk's batch, which its other chunks share. */
  #allRows(value: Value): BatchSlice {
    const { id, rows, width } = value
    if (this.chunk === null) return { array: this.whole(value), offset: 0, batchStride: rows * width, rowStride: width }
    const { batch } = this.chunk
    const { array, offset, rowStride } = this.#copied(
      { array: this.places.dataOf(value), offset: batch * rows * width, rows, rowStride: width, columns: width },
      STILL,
      `whole:${id}:${batch}`,
    )
    return { array, offset, batchStride: 0, rowStride }
  }

  /** A copy of what one chunk needs. */
  #copied(
    part: { array: TaskArray; offset: number; rows: number; rowStride: number; columns: number },
    motion: { batchStride: number; startStride: number },
    key?: string,
  ): MovingSlice {
    const { batch, rowStart } = this.chunk as Chunk
    const slice = this.operands.slice(
      { columnStride: 1, ...part, offset: part.offset + batch * motion.batchStride + rowStart * motion.startStride },
      key,
    )
    this.needs.add(slice.array)
    return { ...slice, ...STILL }
  }

  /** Rows of each head: those of the chunk, or the first `count` of all. */
  #heads(value: Value, count: number | null): MovingHeads {
    const { chunk } = this
    if (chunk === null)
      return { ...wholeHeads(value, this.whole(value)), startStride: count === null ? value.width / value.heads : 0 }
    const { batchStride, headStride, rowStride } = wholeHeads(value, 0)
    const offset = chunk.batch * batchStride + (count === null ? chunk.rowStart * rowStride : 0)
    const part = {
      array: this.places.dataOf(value),
      offset,
      blocks: value.heads,
      blockStride: headStride,
      rows: count ?? chunk.rows,
      rowStride,
      columns: rowStride,
      columnStride: 1,
    }
    const slice = this.operands.slice(part, count === null ? undefined : `${value.id}:${chunk.batch}`)
    this.needs.add(slice.array)
    return {
      array: slice.array,
      offset: slice.offset,
      headStride: slice.blockStride,
      rowStride: slice.rowStride,
      ...STILL,
    }
  }

  #attention(stage: RowStage, operation: Operation<'attend'>): AttentionTemplate {
    const results = operation.attributes.results.map((name, index) => ({
      name,
      value: operation.outputs[index + 1] as Value,
    }))
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
      results: results
        .filter(({ value }) => stage.writes.some(({ to }) => to === value))
        .map(({ name, value }) => this.#result(name, value)),
      chosen: chosenWeights(options),
    }
  }

  #result(name: AttentionResultTemplate['name'], value: Value): AttentionResultTemplate {
    const columns = value.width / value.heads
    if (this.chunk !== null) return { name, columns, to: 'returned' }
    return { name, columns, to: this.#headDestination(value, [0]) }
  }

  /** The chunk's rows of one number each, or all rows of the batch: segment numbers. */
  #numbers(array: TaskArray, perBatch: number, ofChunk: boolean): MovingSlice {
    const motion = { batchStride: perBatch, startStride: ofChunk ? 1 : 0 }
    if (this.chunk === null) return { array: this.option(array), offset: 0, rowStride: 1, columnStride: 1, ...motion }
    return this.#copied(
      { array, offset: 0, rows: ofChunk ? this.chunk.rows : perBatch, rowStride: 1, columns: 1 },
      motion,
      ofChunk ? undefined : `segments:${this.chunk.batch}`,
    )
  }

  /** Rows of the scores' shape, such as a mask's, for each head. */
  #scores(
    { data, strides }: { readonly data: TaskArray; readonly strides: ScoreStrides },
    heads: number,
    keys: number,
  ): MovingScores {
    const { chunk } = this
    const { batch, head, row, column, start = 0 } = strides
    if (chunk === null)
      return {
        array: this.option(data),
        offset: start,
        batchStride: batch,
        headStride: head,
        rowStride: row,
        columnStride: column,
        startStride: row,
      }
    const part = {
      array: data,
      offset: start + chunk.batch * batch + chunk.rowStart * row,
      blocks: heads,
      blockStride: head,
      rows: chunk.rows,
      rowStride: row,
      columns: keys,
      columnStride: column,
    }
    const slice = this.operands.slice(part)
    this.needs.add(slice.array)
    return {
      array: slice.array,
      offset: slice.offset,
      headStride: slice.blockStride,
      rowStride: slice.rowStride,
      columnStride: slice.columnStride ?? 1,
      ...STILL,
    }
  }

  #weight({ parameter, rowStart, outSize, inSize, transposed }: WeightView): ResidentWeight {
    const array = this.#lasting(parameter)
    return {
      parameter: parameter.id,
      version: parameter.version,
      array,
      offset: rowStart * inSize,
      outSize,
      inSize,
      ...(transposed === undefined ? {} : { transposed }),
    }
  }

  /** A parameter of [rows, width] as a table of rows. */
  #table(parameter: Parameter): Slice {
    return { array: this.#lasting(parameter), offset: 0, rowStride: parameter.shape[1] ?? 1, columnStride: 1 }
  }

  #store({ to, shifts }: StoredValue, from: number): StageStep {
    if (to.layout === 'tiles') return { op: 'sum-columns', from, to: this.slab(to) }
    if (to.layout === 'panels' || to.layout === 'quads')
      return { op: 'store-slab', from, to: this.slab(to), columns: to.layout === 'panels' ? 8 : 4 }
    const heads = to.layout === 'heads'
    if (this.chunk !== null)
      return heads
        ? { op: 'store-heads', from, heads: to.heads, to: 'returned' }
        : { op: 'store', from, to: 'returned' }
    if (heads) return { op: 'store-heads', from, heads: to.heads, to: this.#headDestination(to, shifts) }
    return {
      op: 'store',
      from,
      to: {
        array: this.whole(to),
        offset: 0,
        rowStride: to.width,
        batchStride: to.rows * to.width,
        startStride: to.width,
      },
    }
  }

  /** @param shifts rows of the value before each sequence's first */
  #headDestination(to: Value, shifts: readonly number[]): MovingHeads {
    const whole = { ...wholeHeads(to, this.whole(to)), startStride: to.width / to.heads }
    if (shifts.length > 1) return { ...whole, rowShifts: shifts }
    return { ...whole, offset: (shifts[0] ?? 0) * whole.rowStride }
  }

  /** A value of a slab's rows. */
  slab(value: Value): SlabSlice {
    return { array: this.whole(value), offset: 0, stride: value.rows }
  }

  /** Rows of heads of a value that lanes see as a whole; of rows [M, heads·size], heads stand beside each other. */
  headsOf(value: Value, heads: number): HeadSlice & { readonly batchStride: number } {
    const id = this.whole(value)
    if (value.layout === 'heads') return wholeHeads(value, id)
    return {
      array: id,
      offset: 0,
      batchStride: value.rows * value.width,
      headStride: value.width / heads,
      rowStride: value.width,
    }
  }

  #lasting({ data, version }: Parameter): ArrayId {
    const id = this.operands.lasting(data, version)
    this.needs.add(id)
    return id
  }

  /** The array under which lanes see a value as a whole. */
  whole(value: Value): ArrayId {
    const id = this.places.idOf(value)
    this.needs.add(id)
    return id
  }

  /** An option of attention that lanes see as a whole. */
  option(array: TaskArray): ArrayId {
    const id = this.operands.whole(array)
    this.needs.add(id)
    return id
  }
}

/** Every head of every batch of a value in the layout 'heads'. */
function wholeHeads({ width, heads, capacity }: Value, array: ArrayId): HeadSlice & { readonly batchStride: number } {
  const size = width / heads
  return { array, offset: 0, batchStride: capacity * width, headStride: capacity * size, rowStride: size }
}
