import { ofBatch } from '../plan/attention-sizes.ts'
import { CONTEXT_ARRAY, rowRuns, type HeadSlice, type RowRun, type RowStageAttention, type RowStageTask, type RowStep } from './stage.ts'
import type { AttentionSettings, AttentionTask, RowResultName, Slice } from './task.ts'

/** Rows that a task works on: [rowStart, rowStart + rows) of one batch, or on into the batches that follow it. */
export interface Chunk {
  readonly batch: number
  readonly rowStart: number
  readonly rows: number
}

/** How a part of a tensor moves with the chunk: it starts at `offset + batch·batchStride + rowStart·startStride`. */
export interface Motion {
  readonly batchStride: number
  readonly startStride: number
}

/** Of what stands at the same place for every chunk. */
export const STILL: Motion = { batchStride: 0, startStride: 0 }

export type MovingSlice = Slice & Motion
export type MovingHeads = HeadSlice & Motion
/** Rows of heads whose columns may be broadcast, as a mask's. */
export type MovingScores = MovingHeads & { readonly columnStride: number }

/** Attention as the first part of a stage, for any chunk of it. */
export interface AttentionTemplate {
  readonly settings: AttentionSettings
  /** N: the first rows of key and value that count */
  readonly keys: number
  /** H·Dv */
  readonly width: number
  /** one entry per batch, or a single entry for all of them; `queryOffset` works the same way */
  readonly keyLength: readonly number[]
  readonly queryOffset: readonly number[]
  /** [H] or [B·H]: head h of batch b has slope (b·H + h) mod length */
  readonly alibiSlopes: Float32Array | null
  readonly querySegments: MovingSlice | null
  readonly keySegments: MovingSlice | null
  /** H and Hkv */
  readonly heads: number
  readonly keyHeads: number
  readonly query: MovingHeads
  readonly key: MovingHeads
  readonly value: MovingHeads
  readonly mask: MovingScores | null
  readonly bias: MovingScores | null
  /** results beside the output; where not in place, chunk by chunk dense [H, rows, columns] */
  readonly results: readonly AttentionResultTemplate[]
  /** rows whose weights are wanted, ascending, and of which heads; null where `results` has no weights, or those of every row */
  readonly chosen: { readonly rows: readonly number[]; readonly heads: readonly number[] } | null
}

export interface AttentionResultTemplate {
  readonly name: RowResultName | 'weights'
  /** 1, or N of weights */
  readonly columns: number
  readonly to: MovingHeads | 'returned'
}

/** What a stage does to any chunk of its rows: a task of it is this and three numbers. */
export interface StageTemplate extends Pick<RowStageTask, 'registers' | 'registerBytes' | 'residentLimitBytes' | 'withoutGpu'> {
  /** M: where a chunk's rows end and those of the next batch begin */
  readonly sequence: number
  /** what the first sequence counts as for dropout, where a run is over a part of the batch. @default 0 */
  readonly firstBatch?: number
  readonly attention: AttentionTemplate | null
  readonly steps: readonly RowStep<MovingSlice, MovingHeads>[]
}

/** The stage's task for one chunk. @param slabRow index of the chunk's first row in its slab */
export function stageTask(stage: StageTemplate, chunk: Chunk, slabRow = 0): RowStageTask {
  const { registers, registerBytes, residentLimitBytes, attention, sequence, withoutGpu, firstBatch = 0 } = stage
  const crosses = chunk.rowStart + chunk.rows > sequence
  return {
    kind: 'rows',
    ...chunk,
    ...(crosses ? { sequence } : {}),
    ...(slabRow === 0 ? {} : { slabRow }),
    ...(firstBatch === 0 ? {} : { firstBatch }),
    ...(withoutGpu === undefined ? {} : { withoutGpu }),
    registers,
    registerBytes,
    residentLimitBytes,
    attention: attention === null ? null : { width: attention.width, tasks: attentionTasks(attention, chunk, { sequence: crosses ? sequence : undefined, firstBatch }), returned: returnedArrays(attention, chunk) },
    steps: stage.steps.map((step) => placeStep(step, chunk, crosses)),
  }
}

/** One task per head of each sequence in the chunk. */
function attentionTasks(attention: AttentionTemplate, chunk: Chunk, { sequence, firstBatch }: { readonly sequence: number | undefined; readonly firstBatch: number }): AttentionTask[] {
  const runs = rowRuns({ ...chunk, ...(sequence === undefined ? {} : { sequence }) }, 0, chunk.rows)
  return runs.flatMap((run) => Array.from({ length: attention.heads }, (_, head) => headTask(attention, head, run, firstBatch)))
}

function headTask(attention: AttentionTemplate, head: number, run: RowRun, firstBatch: number): AttentionTask {
  const { settings, keys, width, keyLength, queryOffset, alibiSlopes, querySegments, keySegments, heads, keyHeads, mask, bias } = attention
  const batchHead = run.batch * heads + head
  const keyHead = Math.floor((head * keyHeads) / heads)
  return {
    kind: 'attention',
    settings,
    batchHead: firstBatch * heads + batchHead,
    rowStart: run.row,
    rows: run.rows,
    keyStart: 0,
    keyEnd: keys,
    keyLength: ofBatch(keyLength, run.batch),
    queryOffset: ofBatch(queryOffset, run.batch),
    alibiSlope: alibiSlopes?.[batchHead % alibiSlopes.length] ?? 0,
    query: ofHead(attention.query, head, run),
    key: ofHead(attention.key, keyHead, run),
    value: ofHead(attention.value, keyHead, run),
    ...(mask === null ? {} : { mask: { ...ofHead(mask, head, run), columnStride: mask.columnStride } }),
    ...(bias === null ? {} : { bias: { ...ofHead(bias, head, run), columnStride: bias.columnStride } }),
    ...(querySegments === null || keySegments === null ? {} : { querySegments: placed(querySegments, run), keySegments: placed(keySegments, run) }),
    output: { array: CONTEXT_ARRAY, offset: run.at * width + head * settings.valueSize, rowStride: width },
    ...resultsOf(attention, head, run),
  }
}

/** Where the results beside the output go. */
function resultsOf(attention: AttentionTemplate, head: number, run: RowRun): Partial<AttentionTask> {
  const { results, chosen } = attention
  const destinations: Record<string, Slice | Int32Array> = {}
  results.forEach(({ name, columns, to }, index) => {
    if (name === 'weights' && chosen !== null) {
      const place = chosen.heads.indexOf(head)
      const { first, rows } = chosenOf(chosen.rows, run)
      if (place < 0 || rows.length === 0) return
      destinations['weightRows'] = rows
      destinations[name] = to === 'returned' ? { array: -1 - index, offset: place * rows.length * columns, rowStride: columns } : ofHead(to, place, { batch: run.batch, row: first })
      return
    }
    destinations[name] = to === 'returned' ? { array: -1 - index, offset: head * run.rows * columns, rowStride: columns } : ofHead(to, head, run)
  })
  return destinations
}

/** The chosen rows among those of a run: their places in it, and how many stand before them. */
export function chosenOf(chosen: readonly number[], { row, rows }: Pick<RowRun, 'row' | 'rows'>): { first: number; rows: Int32Array } {
  const first = chosen.findIndex((each) => each >= row)
  const inside = chosen.filter((each) => each >= row && each < row + rows)
  return { first: Math.max(0, first), rows: Int32Array.from(inside, (each) => each - row) }
}

/** What the lane makes for the results that go back; a chunk whose results return never crosses sequences. */
function returnedArrays({ results, heads, chosen }: AttentionTemplate, chunk: Chunk): RowStageAttention['returned'] {
  return results.filter(({ to }) => to === 'returned').map(({ name, columns }) => {
    const rows = name === 'weights' && chosen !== null ? chosen.heads.length * chosenOf(chosen.rows, { row: chunk.rowStart, rows: chunk.rows }).rows.length : heads * chunk.rows
    return { length: rows * columns, integers: name === 'maxIndex' }
  })
}

/** The arrays that go back with a chunk: those of attention's results, then one per step that returns rows. */
export function returnedRows({ attention, steps, registers }: StageTemplate, chunk: Chunk): RowStageAttention['returned'] {
  const stored = steps.filter((step) => (step.op === 'store' || step.op === 'store-heads') && step.to === 'returned')
  return [
    ...(attention === null ? [] : returnedArrays(attention, chunk)),
    ...stored.map((step) => ({ length: chunk.rows * ('from' in step && typeof step.from === 'number' ? (registers[step.from] ?? 0) : 0), integers: false })),
  ]
}

/** Steps that are the same for every chunk. One with a slice that moves does not belong here: it does not compile without a case of its own. */
type StillStep<S extends RowStep = RowStep<MovingSlice, MovingHeads>> = S extends unknown ? ([Extract<S[keyof S], Motion>] extends [never] ? S : never) : never

function placeStep(step: RowStep<MovingSlice, MovingHeads>, chunk: Chunk, crosses: boolean): RowStep {
  switch (step.op) {
    case 'load':
      return byPosition(step, step.from, chunk, crosses, (from) => ({ op: 'load', to: step.to, from }))
    case 'rotate':
      return byPosition(step, step.table, chunk, crosses, (table) => ({ op: 'rotate', register: step.register, headSize: step.headSize, turned: step.turned, table, ...(step.back === undefined ? {} : { back: step.back }) }))
    case 'load-heads':
      return { ...step, from: crosses ? step.from : placedHeads(step.from, chunk) }
    case 'cross-entropy':
    case 'cross-entropy-backward':
      return { ...step, targets: placed(step.targets, chunk) }
    case 'embed':
      return { ...step, tokens: placed(step.tokens, chunk) }
    case 'store':
      return { ...step, to: step.to === 'returned' ? step.to : placed(step.to, chunk) }
    case 'store-heads':
      return { ...step, to: step.to === 'returned' || crosses ? step.to : placedHeads(step.to, chunk) }
    default:
      return step satisfies StillStep
  }
}

/** A slice by position moves with the row of the sequence; where the chunk crosses sequences it stays that of position 0. */
function byPosition(step: { readonly byPosition?: true }, slice: MovingSlice, chunk: Chunk, crosses: boolean, make: (slice: Slice) => RowStep): RowStep {
  if (step.byPosition === undefined || !crosses) return make(placed(slice, chunk))
  return { ...make(slice), byPosition: true } as RowStep
}

function placedHeads({ array, offset, headStride, rowStride, batchStride = 0, startStride }: MovingHeads, { batch, rowStart }: Chunk): HeadSlice {
  return { array, offset: offset + batch * batchStride + rowStart * startStride, headStride, rowStride }
}

function ofHead({ array, offset, batchStride = 0, headStride, rowStride, startStride }: MovingHeads, head: number, { batch, row }: Pick<RowRun, 'batch' | 'row'>): Slice {
  return { array, offset: offset + batch * batchStride + head * headStride + row * startStride, rowStride }
}

function placed({ array, offset, rowStride, columnStride = 1, batchStride, startStride }: MovingSlice, at: Chunk | RowRun): Slice {
  const row = 'row' in at ? at.row : at.rowStart
  return { array, offset: offset + at.batch * batchStride + row * startStride, rowStride, columnStride }
}
