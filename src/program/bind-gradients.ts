import type { BatchHeads, BackwardTemplate } from '../protocol/backward-template.ts'
import type { RowsPass, SlabPass, SumsPass } from '../protocol/stage-pass.ts'
import type { SumTask } from '../protocol/sums.ts'
import type { TaskArray } from '../protocol/task.ts'
import type { ScoreStrides } from '../attention/broadcast.ts'
import type { StageBinder } from './bind.ts'
import type { Value } from './operation.ts'
import type { BackwardStage, RowStage, Slab, SlabSum, TableStage } from './stage.ts'

type Six<T> = [T, T, T, T, T, T]

/** Outputs of one task of a weight's gradient: enough that its inputs, which every task reads, are read few times. */
const MOST_OUTPUTS = 256
/** Columns of one task of a table's gradient. */
const TABLE_COLUMNS = 64

/** Attention's gradients as a template for all of their tasks. */
export function backwardTemplate({ operation, batch, rows }: BackwardStage, binder: StageBinder): BackwardTemplate {
  const [query, key, value, context, logSumExp, dContext] = operation.inputs as Six<Value>
  const [dQuery, dKey, dValue] = operation.outputs as [Value, Value, Value]
  const {
    forward: { options, heads, keyHeads, keys },
    segments,
  } = operation.attributes
  const { settings, queryOffset, keyLength, alibiSlopes, mask, bias } = options
  return {
    settings: { ...settings, standard: false },
    batch,
    rows,
    keys,
    heads,
    keyHeads,
    segments,
    keyLength,
    queryOffset,
    alibiSlopes,
    query: binder.headsOf(query, heads),
    key: binder.headsOf(key, keyHeads),
    value: binder.headsOf(value, keyHeads),
    output: binder.headsOf(context, heads),
    dOutput: binder.headsOf(dContext, heads),
    logSumExp: binder.headsOf(logSumExp, heads),
    mask: matrixOf(mask, binder),
    bias: matrixOf(bias, binder),
    querySegments: options.segments === null ? null : numbersOf(options.segments.query, rows, binder),
    keySegments: options.segments === null ? null : numbersOf(options.segments.key, keys, binder),
    dQuery: { ...binder.headsOf(dQuery, heads), slotStride: dQuery.batch * dQuery.capacity * dQuery.width },
    dKey: binder.headsOf(dKey, keyHeads),
    dValue: binder.headsOf(dValue, keyHeads),
  }
}

/** A mask or a bias [B, H, M, N], broadcast where a stride is 0. */
function matrixOf(
  part: { readonly data: TaskArray; readonly strides: ScoreStrides } | null,
  binder: StageBinder,
): BatchHeads | null {
  if (part === null) return null
  const { batch: batchStride, head: headStride, row: rowStride, column: columnStride, start = 0 } = part.strides
  return { array: binder.option(part.data), offset: start, batchStride, headStride, rowStride, columnStride }
}

/** A number per row, `count` per batch. */
function numbersOf(array: TaskArray, count: number, binder: StageBinder): BatchHeads {
  return { array: binder.option(array), offset: 0, batchStride: count, headStride: 0, rowStride: 1 }
}

/** A stage and its sums, slab by slab. */
export function slabPass(
  stage: RowStage & { readonly slab: NonNullable<RowStage['slab']> },
  rows: RowsPass,
  binder: StageBinder,
  scratchBytes: number,
): SlabPass {
  const total = stage.batch * stage.rows
  const tasks = stage.slab.sums.flatMap((sum) => sumTasks(sum, binder))
  return {
    kind: 'slabs',
    rows: total,
    slabRows: stage.slab.rows,
    stages: [rows, { kind: 'sums', tasks, rows: total, scratchBytes }],
  }
}

function sumTasks(sum: SlabSum, binder: StageBinder): SumTask[] {
  const { weight, gradient } = sum
  const array = binder.whole(gradient)
  if (sum.kind === 'columns')
    return [
      {
        op: 'columns',
        partials: binder.slab(sum.tiles),
        width: weight.outSize,
        sums: { array, offset: weight.rowStart, rowStride: 1 },
      },
    ]
  const tasks: SumTask[] = []
  const { outSize, inSize, rowStart } = weight
  for (let first = 0; first < outSize; first += MOST_OUTPUTS) {
    const quads = binder.slab(sum.quads)
    tasks.push({
      op: 'outer',
      quads: { ...quads, offset: quads.offset + first * quads.stride },
      panels: binder.slab(sum.panels),
      outSize: Math.min(MOST_OUTPUTS, outSize - first),
      inSize,
      sums: { array, offset: (rowStart + first) * inSize, rowStride: inSize },
    })
  }
  return tasks
}

/** Bytes that the largest sum of a stage needs in its lane: its operands, the sums and the products of a block. */
export function sumScratchBytes({ slab }: RowStage): number {
  if (slab === null) return 0
  return slab.sums.reduce((largest, sum) => {
    if (sum.kind === 'columns') return largest
    const outputs = Math.min(MOST_OUTPUTS, sum.weight.outSize)
    return Math.max(
      largest,
      (outputs + 16) * slab.rows * 4 +
        (sum.weight.inSize + 16) * slab.rows * 4 +
        outputs * sum.weight.inSize * 4 +
        4096,
    )
  }, 0)
}

/** A table's gradient: a task for each range of columns. */
export function tablePass({ operation, batch, rows }: TableStage, binder: StageBinder, scratchBytes: number): SumsPass {
  const [dOutput, tokens] = operation.inputs as [Value, Value | undefined]
  const { gradient, scale, position } = operation.attributes
  const width = dOutput.width
  const values = { array: binder.whole(dOutput), offset: 0, rowStride: width }
  const sums = { array: binder.whole(gradient), offset: 0, rowStride: width }
  const places =
    tokens === undefined ? { sequence: rows, position } : { array: binder.whole(tokens), offset: 0, rowStride: 1 }
  const tasks: SumTask[] = []
  for (let columnStart = 0; columnStart < width; columnStart += TABLE_COLUMNS) {
    tasks.push({
      op: 'table',
      tokens: places,
      values,
      columnStart,
      columnEnd: Math.min(width, columnStart + TABLE_COLUMNS),
      scale,
      sums,
    })
  }
  return { kind: 'sums', tasks, rows: batch * rows, scratchBytes }
}

/** Tasks of a slab's sums. */
export function slabTaskCount({ sums }: Slab): number {
  return sums.reduce(
    (count, { kind, weight }) => count + (kind === 'columns' ? 1 : Math.ceil(weight.outSize / MOST_OUTPUTS)),
    0,
  )
}

export function tableTaskCount({
  operation: {
    inputs: [dOutput],
  },
}: TableStage): number {
  return Math.ceil((dOutput as Value).width / TABLE_COLUMNS)
}

export function backwardTaskTotal({
  operation: {
    attributes: {
      forward: { keyHeads },
      segments,
    },
  },
  batch,
}: BackwardStage): number {
  return batch * keyHeads * (segments[0]?.length ?? 0)
}
