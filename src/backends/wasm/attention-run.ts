import { PHASE_CHUNKED, PHASE_SCORES, PHASE_VALUES, PHASE_WEIGHTS, P_PHASE } from '../../../assembly/abi.ts'
import { roundUp } from '../../core/integers.ts'
import type { AttentionArena } from '../../plan/arena.ts'
import type { AttentionTask, AttentionTaskResult } from '../../protocol/task.ts'
import type { TaskContext } from '../backend.ts'
import type { Arena } from './arena.ts'
import { KeyBlocks, type KeyBlock } from './key-blocks.ts'
import { allRows, chosenRows, MatrixRows, type MatrixTile } from './matrix-rows.ts'
import { QueryTiles, type QueryTile } from './query-tiles.ts'
import { flagsOf, keepScaleOf, querySign, setTaskParameters } from './task-parameters.ts'
import { TaskResults } from './task-results.ts'

/**
 * One task in one arena: passes of up to `layout.rows` query rows, each over all key blocks, each block over all query
 * tiles.
 */
export class AttentionRun {
  readonly #results: TaskResults
  readonly #blocks: KeyBlocks
  #tiles = 0
  #skippedTiles = 0

  constructor(
    private readonly arena: Arena,
    private readonly layout: AttentionArena,
    private readonly task: AttentionTask,
    private readonly context: TaskContext,
  ) {
    this.#results = new TaskResults(task, (id) => context.array(id))
    this.#blocks = new KeyBlocks(arena, layout, task, context)
  }

  /** Takes a turn of the event loop whenever the task's context asks for one. */
  async run(): Promise<AttentionTaskResult> {
    const steps = this.#steps()
    let step = steps.next()
    while (!step.done) {
      await step.value
      step = steps.next()
    }
    return step.value
  }

  /** The same without a turn in between: the context's `pace` must ask for none. */
  runNow(): AttentionTaskResult {
    const step = this.#steps().next()
    if (!step.done) throw new RangeError('attention: expected a context that asks for no turn, got one that does')
    return step.value
  }

  /** Yields the turns that the context asks for. */
  *#steps(): Generator<Promise<void>, AttentionTaskResult> {
    const startedMs = performance.now()
    const { task, layout } = this
    setTaskParameters(this.arena, layout, task)
    for (let passStart = 0; passStart < task.rows; passStart += layout.rows) {
      yield* this.#pass(passStart, Math.min(layout.rows, task.rows - passStart))
    }
    const returned = this.#results.finish()
    return {
      ...returned,
      elapsedMs: performance.now() - startedMs,
      tiles: this.#tiles,
      skippedTiles: this.#skippedTiles,
    }
  }

  *#pass(passStart: number, rows: number): Generator<Promise<void>> {
    const { arena, layout, task, context } = this
    const queries = new QueryTiles(arena, layout, task, context, { start: passStart, flags: flagsOf(task) })
    const tiles = queries.load(rows, querySign(task))
    const sink = this.#results.weights()
    const matrix = sink === undefined ? undefined : new MatrixRows(arena, layout, sink)
    if (matrix === undefined || !task.settings.standard) {
      yield* this.#sweep(PHASE_CHUNKED, queries, tiles)
    } else {
      yield* this.#sweepMatrix(PHASE_SCORES, queries, allRows(tiles, passStart), matrix)
      yield* this.#sweepMatrix(PHASE_VALUES, queries, allRows(tiles, passStart), matrix)
    }
    const chosen = chosenRows(task, tiles, passStart, rows)
    if (matrix !== undefined && !task.settings.standard)
      yield* this.#sweepMatrix(PHASE_WEIGHTS, queries, chosen, matrix)
    this.#collect(queries, tiles, passStart)
  }

  /** Chunked mode: scores, softmax and values of a tile in one kernel call. */
  *#sweep(phase: number, queries: QueryTiles, tiles: readonly QueryTile[]): Generator<Promise<void>> {
    this.arena.setInteger(P_PHASE, phase)
    for (const block of this.#blocks.all()) {
      const visible = tiles.filter((tile) => !queries.isHidden(tile, block))
      this.#skippedTiles += tiles.length - visible.length
      if (visible.length === 0) continue
      this.#blocks.loadKeys(block)
      this.#blocks.loadValues(block)
      for (const tile of visible) this.#count(queries.attend(tile, block))
      const turn = this.context.pace()
      if (turn !== undefined) yield turn
    }
  }

  /** A phase that reads or writes the matrix of weights. */
  *#sweepMatrix(
    phase: number,
    queries: QueryTiles,
    tiles: readonly MatrixTile[],
    matrix: MatrixRows,
  ): Generator<Promise<void>> {
    this.arena.setInteger(P_PHASE, phase)
    for (const block of this.#blocks.all()) {
      const visible = tiles.filter((tile) => !queries.isHidden(tile, block))
      if (phase !== PHASE_SCORES)
        tiles.filter((tile) => !visible.includes(tile)).forEach((tile) => matrix.clear(tile, block))
      else this.#skippedTiles += tiles.length - visible.length
      if (visible.length === 0) continue
      if (phase === PHASE_VALUES) this.#blocks.loadValues(block)
      else this.#blocks.loadKeys(block)
      for (const tile of visible) this.#attendMatrix(phase, queries, tile, block, matrix)
      const turn = this.context.pace()
      if (turn !== undefined) yield turn
    }
  }

  #attendMatrix(phase: number, queries: QueryTiles, tile: MatrixTile, block: KeyBlock, matrix: MatrixRows): void {
    if (phase === PHASE_VALUES) matrix.read(tile, block)
    const groups = queries.attend(tile, block)
    if (phase === PHASE_SCORES) this.#count(groups)
    matrix.write(tile, block)
  }

  #count(groups: number): void {
    if (groups > 0) this.#tiles++
    else this.#skippedTiles++
  }

  /** The pass's outputs and row results, finished, to the task's destinations. */
  #collect(queries: QueryTiles, tiles: readonly QueryTile[], passStart: number): void {
    const {
      arena,
      layout,
      task,
      task: {
        settings: { valueSize, standard },
      },
    } = this
    for (const { row, rows } of tiles) {
      const state = queries.stateOf(row)
      const output = layout.output + row * roundUp(valueSize, 4) * 4
      arena.kernels.finaliseGroups(
        output,
        state,
        layout.transfer,
        Math.ceil(rows / 8),
        valueSize,
        keepScaleOf(task),
        !standard,
      )
      this.#results.takeOutput(arena, layout.transfer, passStart + row, rows)
      this.#results.takeRows(arena, state, passStart + row, rows)
    }
  }
}
