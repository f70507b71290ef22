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
import { TaskResults, type Sink } from './task-results.ts'

/**
 * One task in one arena: passes of up to `layout.rows` query rows, each over all key blocks, each block over all query
 * tiles.
 */
export class AttentionRun {
  readonly #results: TaskResults
  readonly #blocks: KeyBlocks
  tiles = 0
  skippedTiles = 0

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
    const startedMs = performance.now()
    const steps = this.steps()
    let step = steps.next()
    while (!step.done) {
      await step.value
      step = steps.next()
    }
    return this.#resultSince(startedMs)
  }

  /** The same without a turn in between: the context's `pace` must ask for none. */
  runNow(): AttentionTaskResult {
    const startedMs = performance.now()
    if (!this.steps().next().done)
      throw new RangeError('attention: expected a context that asks for no turn, got one that does')
    return this.#resultSince(startedMs)
  }

  #resultSince(startedMs: number): AttentionTaskResult {
    const elapsedMs = performance.now() - startedMs
    return { ...this.#results.finish(), elapsedMs, tiles: this.tiles, skippedTiles: this.skippedTiles }
  }

  /** Computes the task, and yields the turns that the context asks for. */
  *steps(): Generator<Promise<void>, void> {
    const { task, layout, arena, context } = this
    setTaskParameters(arena, layout, task)
    const flags = flagsOf(task)
    const sign = querySign(task)
    const sink = this.#results.weights()
    for (let passStart = 0; passStart < task.rows; passStart += layout.rows) {
      const rows = Math.min(layout.rows, task.rows - passStart)
      const queries = new QueryTiles(arena, layout, task, context, { passStart, flags })
      const tiles = queries.load(rows, sign)
      if (sink === undefined || !task.settings.standard) {
        // Inline: a generator inside of another costs many small heads more than their loops.
        arena.setInteger(P_PHASE, PHASE_CHUNKED)
        for (let block = this.#blocks.first(); block !== null; block = this.#blocks.after(block)) {
          this.#attendBlock(queries, tiles, block)
          const turn = context.pace()
          if (turn !== undefined) yield turn
        }
      }
      if (sink !== undefined) yield* this.#matrixPass(queries, tiles, { passStart, rows }, sink)
      this.#collect(queries, tiles, passStart)
    }
  }

  /** Standard mode, or the weights of chosen rows. */
  *#matrixPass(
    queries: QueryTiles,
    tiles: readonly QueryTile[],
    { passStart, rows }: { readonly passStart: number; readonly rows: number },
    sink: Sink,
  ): Generator<Promise<void>> {
    const matrix = new MatrixRows(this.arena, this.layout, sink)
    if (this.task.settings.standard) {
      yield* this.#sweepMatrix(PHASE_SCORES, queries, allRows(tiles, passStart), matrix)
      yield* this.#sweepMatrix(PHASE_VALUES, queries, allRows(tiles, passStart), matrix)
    } else {
      yield* this.#sweepMatrix(PHASE_WEIGHTS, queries, chosenRows(this.task, tiles, passStart, rows), matrix)
    }
  }

  /** Chunked mode: scores, softmax and values of a tile in one kernel call. */
  #attendBlock(queries: QueryTiles, tiles: readonly QueryTile[], block: KeyBlock): void {
    let isLoaded = false
    for (const tile of tiles) {
      const band = queries.bandOf(tile, block)
      if (band === null) {
        this.skippedTiles++
        continue
      }
      if (!isLoaded) {
        this.#blocks.loadKeys(block)
        this.#blocks.loadValues(block)
        isLoaded = true
      }
      this.#count(queries.attend(tile, block, band))
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
    for (let block = this.#blocks.first(); block !== null; block = this.#blocks.after(block)) {
      this.#attendMatrix(phase, queries, tiles, block, matrix)
      const turn = this.context.pace()
      if (turn !== undefined) yield turn
    }
  }

  #attendMatrix(
    phase: number,
    queries: QueryTiles,
    tiles: readonly MatrixTile[],
    block: KeyBlock,
    matrix: MatrixRows,
  ): void {
    let isLoaded = false
    for (const tile of tiles) {
      const band = queries.bandOf(tile, block)
      if (band === null) {
        if (phase === PHASE_SCORES) this.skippedTiles++
        else matrix.clear(tile, block)
        continue
      }
      if (!isLoaded && phase === PHASE_VALUES) this.#blocks.loadValues(block)
      else if (!isLoaded) this.#blocks.loadKeys(block)
      isLoaded = true
      if (phase === PHASE_VALUES) matrix.read(tile, block)
      const groups = queries.attend(tile, block, band)
      if (phase === PHASE_SCORES) this.#count(groups)
      matrix.write(tile, block)
    }
  }

  #count(groups: number): void {
    if (groups > 0) this.tiles++
    else this.skippedTiles++
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
