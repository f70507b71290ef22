import {
  FEW_ROWS,
  P_BATCH_HEAD,
  P_BLOCK_START,
  P_COUNTER_KEY,
  P_COUNTER_ROW,
  P_KEYS,
  P_OUTPUT,
  P_PHASE,
  P_QUERY,
  P_ROWS,
  P_STATE,
  PHASE_CHUNKED,
  STATE_BYTES,
  TILE_ROWS,
} from '../../../assembly/abi.ts'
import { roundUp } from '../../core/integers.ts'
import type { AttentionArena } from '../../plan/arena.ts'
import { headAt, taskOfHead, type AttentionHeadsTask } from '../../protocol/heads-task.ts'
import { ofHead, type MovingHeads } from '../../protocol/moving-slice.ts'
import type { AttentionTask, Slice, TaskArray } from '../../protocol/task.ts'
import type { TaskContext } from '../backend.ts'
import type { Arena } from './arena.ts'
import { copyIn, copyOut } from './copy-rows.ts'
import { setBand } from './score-inputs.ts'
import { flagsOf, keepScaleOf, querySign, setTaskParameters } from './task-parameters.ts'
import { TaskResults } from './task-results.ts'
import { bandOf } from './visibility.ts'

/** More heads at a time would leave the processor's second-level cache. */
const MOST_HEADS = 16

/** Heads at a time, and where their rows stand: byte addresses, in the room of a larger task's queries and outputs. */
interface HeadsRoom {
  readonly heads: number
  readonly query: number
  readonly key: number
  readonly value: number
  readonly output: number
  /** one head's accumulated output */
  readonly sums: number
}

/**
 * Whether heads are so small and plain that one kernel call takes several: one tile of queries over one block of keys,
 * nothing of the scores' shape, and no weights.
 */
export function fitsHeadBlocks({ inputs, results, rows }: AttentionHeadsTask, layout: AttentionArena): boolean {
  const { mask, bias, querySegments, settings, keys } = inputs
  return (
    rows > FEW_ROWS &&
    rows <= TILE_ROWS &&
    keys <= layout.blockRows &&
    mask === null &&
    bias === null &&
    querySegments === null &&
    !settings.standard &&
    results.every(({ name }) => name !== 'weights') &&
    roomFor({ inputs, rows }, layout).heads > 0
  )
}

/** Several small heads per kernel call. */
export class HeadBlocks {
  /** heads that saw a key, and those that saw none */
  tiles = 0
  skippedTiles = 0
  readonly #room: HeadsRoom

  /** @param context whose arrays are also those that go back with the task */
  constructor(
    private readonly arena: Arena,
    private readonly layout: AttentionArena,
    private readonly task: AttentionHeadsTask,
    private readonly context: TaskContext,
  ) {
    this.#room = roomFor(task, layout)
  }

  *steps(): Generator<Promise<void>, void> {
    for (let index = 0; index < this.task.count;) {
      const heads = this.#alike(index)
      this.#attend(index, heads)
      index += heads
      const turn = this.context.pace()
      if (turn !== undefined) yield turn
    }
  }

  /** How many heads from `index` on differ in nothing but their rows. */
  #alike(index: number): number {
    const { inputs, first, count } = this.task
    if (inputs.alibiSlopes !== null) return 1
    const most = Math.min(this.#room.heads, count - index)
    const batchesAreAlike = inputs.queryOffset.length <= 1 && inputs.keyLength.length <= 1
    return batchesAreAlike ? most : Math.min(most, inputs.heads - headAt(first + index, inputs.heads).head)
  }

  #attend(index: number, heads: number): void {
    const { arena, task } = this
    const { query, key, value, output } = this.#room
    const { settings, keys } = task.inputs
    this.#copyIn(index, heads, { to: query, slice: task.inputs.query, rows: task.rows, columns: settings.headSize })
    this.#copyIn(index, heads, { to: key, slice: task.inputs.key, rows: keys, columns: settings.headSize })
    this.#copyIn(index, heads, { to: value, slice: task.inputs.value, rows: keys, columns: settings.valueSize })
    const one = taskOfHead(task, index)
    this.#setParameters(one)
    const flags = flagsOf(one)
    const active = arena.kernels.attendHeads(heads, flags, query, key, value, output, querySign(one), keepScaleOf(one))
    this.tiles += active
    this.skippedTiles += heads - active
    this.#takeResults(index, heads, one)
  }

  #setParameters(task: AttentionTask): void {
    const { arena, layout } = this
    setTaskParameters(arena, layout, task)
    setBand(arena, bandOf(task, 0, 0))
    arena.setInteger(P_PHASE, PHASE_CHUNKED)
    arena.setInteger(P_ROWS, task.rows)
    arena.setInteger(P_KEYS, task.keyEnd)
    arena.setInteger(P_BLOCK_START, 0)
    arena.setInteger(P_COUNTER_KEY, 0)
    arena.setInteger(P_COUNTER_ROW, 0)
    arena.setInteger(P_QUERY, layout.query)
    arena.setInteger(P_OUTPUT, this.#room.sums)
    arena.setInteger(P_STATE, layout.state)
    arena.setInteger(P_BATCH_HEAD, task.batchHead)
  }

  #copyIn(
    index: number,
    heads: number,
    part: { readonly to: number; readonly slice: MovingHeads; readonly rows: number; readonly columns: number },
  ): void {
    const { to, slice, rows, columns } = part
    const { floats } = this.arena
    const source = this.context.array(slice.array) as Float32Array
    const isKey = slice !== this.task.inputs.query
    if (isDense(slice, part, this.task) && (!isKey || this.task.inputs.keyHeads === this.task.inputs.heads)) {
      copyIn(floats, to >> 2, columns, source, this.#sliceOf(slice, index, isKey), 0, heads * rows, 0, columns)
      return
    }
    for (let head = 0; head < heads; head++) {
      const at = (to >> 2) + head * rows * columns
      copyIn(floats, at, columns, source, this.#sliceOf(slice, index + head, isKey), 0, rows, 0, columns)
    }
  }

  /** Rows of the `index`-th head, or of its key head. */
  #sliceOf(slice: MovingHeads, index: number, isKey: boolean): Slice {
    const { inputs, first } = this.task
    const { batch, head } = headAt(first + index, inputs.heads)
    return ofHead(slice, isKey ? Math.floor((head * inputs.keyHeads) / inputs.heads) : head, { batch, row: 0 })
  }

  #takeResults(index: number, heads: number, first: AttentionTask): void {
    const { arena, task, layout } = this
    const valueSize = first.settings.valueSize
    const groups = Math.ceil(task.rows / 8)
    const [output] = task.results
    const dense =
      output?.to === 'returned' ||
      (output !== undefined && isDense(output.to, { rows: task.rows, columns: valueSize }, task))
    const arrayOf = (id: number): TaskArray => this.context.array(id)
    if (dense) this.#copyOut(first.output as Slice, 0, heads * task.rows)
    if (dense && task.results.length === 1) return
    for (let head = 0; head < heads; head++) {
      const one = taskOfHead(task, index + head)
      if (!dense) this.#copyOut(one.output as Slice, head * task.rows, task.rows)
      const states = layout.state + head * groups * STATE_BYTES
      new TaskResults(one, arrayOf).takeRows(arena, states, 0, task.rows)
    }
  }

  #copyOut(slice: Slice, from: number, rows: number): void {
    const { valueSize } = this.task.inputs.settings
    const target = this.context.array(slice.array) as Float32Array
    const at = (this.#room.output >> 2) + from * valueSize
    copyOut(this.arena.floats, at, valueSize, target, slice, 0, rows, 0, valueSize)
  }
}

/** Whether heads follow each other without a gap, over batches too. */
function isDense(
  { rowStride, headStride, batchStride }: MovingHeads,
  { rows, columns }: { readonly rows: number; readonly columns: number },
  { inputs }: AttentionHeadsTask,
): boolean {
  return rowStride === columns && headStride === rows * columns && batchStride === inputs.heads * headStride
}

function roomFor({ inputs, rows }: Pick<AttentionHeadsTask, 'inputs' | 'rows'>, layout: AttentionArena): HeadsRoom {
  const { keys } = inputs
  const { headSize, valueSize } = inputs.settings
  const padded = roundUp(valueSize, 4)
  const end = layout.output + layout.rows * padded * 4
  const sums = layout.query + TILE_ROWS * headSize * 4
  const start = sums + TILE_ROWS * padded * 4
  const spare = 7 * valueSize * 4 + 3 * 16
  const perHead = ((rows + keys) * headSize + (keys + rows) * valueSize) * 4
  const byStates = Math.floor(layout.rows / roundUp(rows, 8))
  const heads = Math.max(0, Math.min(MOST_HEADS, byStates, Math.floor((end - start - spare) / perHead)))
  const query = start
  const key = query + roundUp(heads * rows * headSize * 4, 16)
  const value = key + roundUp(heads * keys * headSize * 4, 16)
  const output = value + roundUp(heads * keys * valueSize * 4, 16)
  return { heads, query, key, value, output, sums }
}
