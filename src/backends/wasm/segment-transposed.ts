import { P_D_OUTPUT_ROWS, P_D_VALUE } from '../../../assembly/abi.ts'
import { roundUp } from '../../core/integers.ts'
import type { BackwardArena } from '../../plan/backward-arena.ts'
import type { AttentionTransposedResult, AttentionTransposedTask, ScoredHead } from '../../protocol/backward-task.ts'
import type { TaskContext } from '../backend.ts'
import type { Arena } from './arena.ts'
import { copyIn, copyOut } from './copy-rows.ts'
import { clearPadding, loadRows } from './gradient-operands.ts'
import { sinkOf, type FloatSink } from './segment-sinks.ts'
import { floatsOf, type RowFacts, type SegmentBlock, type SegmentTile, type SegmentWork } from './segment-sweep.ts'

/** Pᵀ·X of one task: what its sweep loads, and where its result goes. X is where dO is in the backward pass. */
export class SegmentTransposed implements SegmentWork {
  readonly flags = 0
  readonly heads: readonly ScoredHead[]
  readonly #sink: FloatSink
  readonly #dense: { output?: Float32Array } = {}

  constructor(
    private readonly arena: Arena,
    private readonly layout: BackwardArena,
    private readonly task: AttentionTransposedTask,
    private readonly context: TaskContext,
  ) {
    const {
      head,
      output,
      keyStart,
      keyEnd,
      settings: { valueSize },
    } = task
    this.heads = [head]
    if (output === true) {
      this.#dense.output = new Float32Array((keyEnd - keyStart) * valueSize)
      this.#sink = { array: this.#dense.output, slice: { offset: 0, rowStride: valueSize } }
    } else {
      this.#sink = sinkOf(output, context)
    }
  }

  setPlaces(): void {
    const { arena, layout, task } = this
    arena.setInteger(P_D_OUTPUT_ROWS, layout.dOutputRows)
    arena.setInteger(P_D_VALUE, layout.dValue)
    clearPadding(arena, layout, task.settings)
  }

  inspect({ row, rows }: Omit<SegmentTile, 'extreme'>): boolean {
    const {
      arena: { floats, kernels },
      layout,
      context,
      task: {
        columns,
        settings: { valueSize },
      },
    } = this
    if (columns === null) return false
    copyIn(floats, layout.raw >> 2, valueSize, floatsOf(context, columns.array), columns, row, rows, 0, valueSize)
    return kernels.hasExtremes(layout.raw, rows * valueSize) !== 0
  }

  openBlock(): void {
    const {
      arena: { floats },
      layout,
    } = this
    floats.fill(0, layout.dValue >> 2, (layout.dValue >> 2) + layout.blockRows * layout.valueColumns)
  }

  loadKeys({ start, keys }: SegmentBlock): boolean {
    const {
      arena: { floats, kernels },
      layout,
      context,
      task: {
        key,
        settings: { headSize },
      },
    } = this
    copyIn(floats, layout.raw >> 2, headSize, floatsOf(context, key.array), key, start, keys, 0, headSize)
    kernels.packKeys(layout.raw, layout.key, keys, headSize)
    return kernels.hasExtremes(layout.raw, keys * headSize) !== 0
  }

  loadTile({ row, rows }: SegmentTile, { without, scaled }: RowFacts): void {
    const {
      arena: { floats, kernels },
      layout,
      context,
      task: {
        head: { query },
        columns,
        settings: { headSize, valueSize, scale },
      },
    } = this
    const stride = layout.valueColumns
    const place = { row, rows, without }
    loadRows(
      floats,
      { at: layout.queryRows, stride: layout.headColumns, width: headSize },
      floatsOf(context, query.array),
      query,
      place,
    )
    kernels.packLanes(layout.queryRows, layout.headColumns, layout.query, rows, headSize, headSize, Math.sign(scale))
    if (columns === null) loadOnes(floats, layout.dOutputRows >> 2, stride, place)
    else
      loadRows(
        floats,
        { at: layout.dOutputRows, stride, width: valueSize },
        floatsOf(context, columns.array),
        columns,
        place,
      )
    if (scaled) kernels.scaleEachRow(layout.dOutputRows, stride, rows, layout.rowFactors)
  }

  run(): number {
    return this.arena.kernels.transposedTile()
  }

  storeTile(): void {
    // Everything is summed up over tiles.
  }

  closeBlock({ start, keys }: SegmentBlock): void {
    const {
      arena: { floats },
      layout,
      task: {
        keyStart,
        settings: { valueSize },
      },
    } = this
    const { array, slice } = this.#sink
    copyOut(floats, layout.dValue >> 2, layout.valueColumns, array, slice, start - keyStart, keys, 0, valueSize)
  }

  /** The array that travels with the answer. */
  finish(): Partial<AttentionTransposedResult> {
    return this.#dense
  }
}

/** Ones in place of X: C = 1. Zeros up to the next group of 8, and where a row takes no part. */
function loadOnes(
  floats: Float32Array,
  first: number,
  stride: number,
  { rows, without }: { readonly rows: number; readonly without: readonly number[] },
): void {
  for (let r = 0; r < roundUp(rows, 8); r++) floats[first + r * stride] = r < rows && !without.includes(r) ? 1 : 0
}
