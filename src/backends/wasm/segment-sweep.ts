import {
  FLAG_EXTREME_SCORES,
  FLAG_EXTREME_VALUES,
  FLAG_SCALED,
  P_ALLOW,
  P_BLOCK_ROWS,
  P_BLOCK_START,
  P_COUNTER_KEY,
  P_COUNTER_ROW,
  P_FLAGS,
  P_KEYS,
  P_LOG_SUM_EXP,
  P_PROBABILITIES,
  P_QUERY,
  P_QUERY_SEGMENTS,
  P_RANGES,
  P_ROWS,
  P_SOFTCAP_SLOPES,
  TILE_ROWS,
} from '../../../assembly/abi.ts'
import { roundUp } from '../../core/integers.ts'
import type { BackwardArena } from '../../plan/backward-arena.ts'
import type { KeySegmentTask, ScoredHead } from '../../protocol/backward-task.ts'
import type { ArrayId, Slice } from '../../protocol/task.ts'
import type { TaskContext } from '../backend.ts'
import type { Arena } from './arena.ts'
import { copyIn } from './copy-rows.ts'
import { loadScoreInputs, setBand } from './score-inputs.ts'
import { scoreFlags, scoreUnit, setScoreParameters, type ScoredTask } from './task-parameters.ts'
import { areDisjoint, bandOf, isEmpty, segmentRange, type SegmentRange } from './visibility.ts'

/** Keys of a segment that are worked on at once. */
export interface SegmentBlock {
  readonly start: number
  readonly keys: number
  readonly segments: SegmentRange | undefined
}

/** Up to 64 rows of one head of the task. */
export interface SegmentTile {
  /** index into the task's heads */
  readonly head: number
  readonly row: number
  readonly rows: number
  /** whether any operand holds NaN, an infinity or a magnitude of 2^56 or more */
  readonly extreme: boolean
  readonly segments: SegmentRange | undefined
}

/** What a tile's log-sum-exps say of its rows. */
export interface RowFacts {
  /** rows that take no part: their operands must be zeros */
  readonly without: readonly number[]
  /**
   * whether P must be multiplied by the row's factor (`layout.rowFactors`): what rounding took from L in units of score
   */
  readonly scaled: boolean
}

/** What is made of the probabilities: gradients, or Pᵀ·X. */
export interface SegmentWork {
  readonly heads: readonly ScoredHead[]
  /** FLAG_… of what is wanted of each tile */
  readonly flags: number
  /** Tells the kernels where the operands stand. */
  setPlaces(): void
  /** Looks at rows once, before the sweep. Returns whether an operand other than the query is extreme. */
  inspect(tile: Omit<SegmentTile, 'extreme'>): boolean
  /** Before a block: clears what it sums up. */
  openBlock?(block: SegmentBlock): void
  /** Brings the block's keys in, once some tile sees it. Returns whether an operand is extreme. */
  loadKeys(block: SegmentBlock): boolean
  /** Brings the tile's rows in. */
  loadTile(tile: SegmentTile, rows: RowFacts): void
  /** Calls the kernel; returns how many groups saw a key. */
  run(): number
  storeTile(tile: SegmentTile, block: SegmentBlock): void
  /** In place of `storeTile` where no query of the tile sees a key of the block. */
  skipTile?(tile: SegmentTile, block: SegmentBlock): void
  closeHead?(head: number, block: SegmentBlock): void
  closeBlock?(block: SegmentBlock): void
}

/** The lowest scale that a log-sum-exp is divided by; below it scores are multiplied instead. */
const SMALLEST_UNIT = 1e-6
/** Of a row that takes no part: its scores, which are zeros, become as good as nothing. */
const FAR_LOG_SUM_EXP = 1e30

/** One task in one arena: a key block at a time, and against it every tile of every head, in order. */
export class SegmentSweep {
  tiles = 0
  skippedTiles = 0
  readonly #tiles: SegmentTile[][] = []
  readonly #unit: number
  #rowsSincePace = 0

  constructor(
    private readonly arena: Arena,
    private readonly layout: BackwardArena,
    private readonly task: KeySegmentTask,
    private readonly context: TaskContext,
    private readonly work: SegmentWork,
  ) {
    const unit = scoreUnit(this.#scored(0))
    this.#unit = unit < SMALLEST_UNIT ? 1 : unit
  }

  /** Yields the turns that the context asks for. */
  *steps(): Generator<Promise<void>> {
    const {
      task: { keyStart, keyEnd },
      layout: { blockRows },
      work,
    } = this
    yield* this.prepare()
    for (let start = keyStart; start < keyEnd; start += blockRows) {
      const block = this.open(start, Math.min(blockRows, keyEnd - start))
      work.openBlock?.(block)
      const load = loadOnce(() => work.loadKeys(block))
      for (const [head, tiles] of this.#tiles.entries()) {
        const open = loadOnce(() => this.#openHead(head))
        for (const tile of tiles) {
          if (this.isHidden(tile, block)) {
            this.#skip(tile, block)
            continue
          }
          const extreme = load()
          open()
          if (this.#runTile(tile, block, extreme)) work.storeTile(tile, block)
          else this.#skip(tile, block)
          yield* this.#pace(tile.rows)
        }
        work.closeHead?.(head, block)
      }
      work.closeBlock?.(block)
    }
  }

  /** Looks at every tile of every head, before anything else. */
  *prepare(): Generator<Promise<void>> {
    this.#setPlaces()
    yield* this.#inspect()
  }

  /** One tile against one block, of a task that shares its arena with others: everything is brought in for it alone. */
  *alone(index: number, start: number, keys: number): Generator<Promise<void>> {
    const { work } = this
    const tile = this.#tiles[0]?.[index] as SegmentTile
    this.#setPlaces()
    const block = this.open(start, keys)
    if (this.isHidden(tile, block)) {
      this.#skip(tile, block)
      return
    }
    const extreme = work.loadKeys(block)
    this.#openHead(0)
    if (this.#runTile(tile, block, extreme)) work.storeTile(tile, block)
    else this.#skip(tile, block)
    yield* this.#pace(tile.rows)
  }

  /** Returns whether any query of the tile saw a key of the block. */
  #runTile(tile: SegmentTile, block: SegmentBlock, extremeKeys: boolean): boolean {
    const { arena, layout, work } = this
    const scored = this.#scored(tile.head)
    work.loadTile(tile, this.#loadLogSumExp(tile))
    const extreme = extremeKeys || tile.extreme ? FLAG_EXTREME_SCORES | FLAG_EXTREME_VALUES : 0
    arena.setInteger(P_FLAGS, scoreFlags(scored) | work.flags | extreme | (this.#isScaled(scored) ? FLAG_SCALED : 0))
    arena.setInteger(P_ROWS, tile.rows)
    arena.setInteger(P_COUNTER_ROW, tile.row)
    setBand(arena, bandOf(this.task, tile.row, block.start))
    loadScoreInputs(arena, layout, scored, this.context, { tile, block })
    if (tile.segments !== undefined) this.#loadSegments(tile.row, tile.rows)
    const seen = work.run() > 0
    if (seen) this.tiles++
    return seen
  }

  #skip(tile: SegmentTile, block: SegmentBlock): void {
    this.skippedTiles++
    this.work.skipTile?.(tile, block)
  }

  *#pace(rows: number): Generator<Promise<void>> {
    this.#rowsSincePace += rows
    if (this.#rowsSincePace < this.task.stepRows) return
    this.#rowsSincePace = 0
    const turn = this.context.pace()
    if (turn !== undefined) yield turn
  }

  /** A head as the functions of forward see a task. */
  #scored(head: number): ScoredTask {
    const { settings, querySegments, keySegments } = this.task
    const segments = querySegments === undefined || keySegments === undefined ? {} : { querySegments, keySegments }
    return { ...(this.work.heads[head] as ScoredHead), ...segments, settings }
  }

  #isScaled(scored: ScoredTask): boolean {
    return this.#unit !== scoreUnit(scored)
  }

  #setPlaces(): void {
    const { arena, layout } = this
    arena.setInteger(P_ALLOW, layout.allow)
    arena.setInteger(P_BLOCK_ROWS, layout.blockRows)
    arena.setInteger(P_LOG_SUM_EXP, layout.logSumExp)
    arena.setInteger(P_PROBABILITIES, layout.probabilities)
    arena.setInteger(P_QUERY, layout.query)
    arena.setInteger(P_QUERY_SEGMENTS, layout.querySegments)
    arena.setInteger(P_RANGES, layout.ranges)
    arena.setInteger(P_SOFTCAP_SLOPES, layout.softcapSlopes)
    this.work.setPlaces()
  }

  #openHead(head: number): void {
    setScoreParameters(this.arena, this.layout, this.#scored(head), this.#unit)
  }

  /** Every tile of every head, looked at once. */
  *#inspect(): Generator<Promise<void>> {
    const {
      task: { rows, querySegments },
      work,
    } = this
    for (const head of work.heads.keys()) {
      const tiles: SegmentTile[] = []
      this.#tiles.push(tiles)
      for (let row = 0; row < rows; row += TILE_ROWS) {
        const place = { head, row, rows: Math.min(TILE_ROWS, rows - row), segments: undefined }
        const segments = querySegments === undefined ? undefined : this.#loadSegments(row, place.rows)
        const extreme = this.#isExtreme(place)
        tiles.push({ ...place, segments, extreme: work.inspect(place) || extreme })
        yield* this.#pace(place.rows)
      }
    }
  }

  /** Whether queries or log-sum-exps of the tile are not finite, or very large. */
  #isExtreme({ head, row, rows }: Omit<SegmentTile, 'extreme'>): boolean {
    const {
      arena,
      layout,
      context,
      task: {
        settings: { headSize },
      },
    } = this
    const { query, logSumExp } = this.work.heads[head] as ScoredHead
    const values = floatsOf(context, logSumExp.array)
    for (let r = row; r < row + rows; r++) {
      const value = values[logSumExp.offset + r * logSumExp.rowStride] as number
      if (!(value < Infinity)) return true
    }
    copyIn(arena.floats, layout.raw >> 2, headSize, floatsOf(context, query.array), query, row, rows, 0, headSize)
    return arena.kernels.hasExtremes(layout.raw, rows * headSize) !== 0
  }

  /**
   * The tile's log-sum-exps in units of score, rounded, and by row the factor exp(−unit·rest) of what that left: 1 −
   * unit·rest.
   */
  #loadLogSumExp({ head, row, rows }: SegmentTile): RowFacts {
    const {
      arena: { floats },
      layout,
    } = this
    const { logSumExp } = this.work.heads[head] as ScoredHead
    const values = floatsOf(this.context, logSumExp.array)
    const without: number[] = []
    const [at, factors] = [layout.logSumExp >> 2, layout.rowFactors >> 2]
    let scaled = false
    for (let r = 0; r < rows; r++) {
      const value = values[logSumExp.offset + (row + r) * logSumExp.rowStride] as number
      const quotient = value / this.#unit
      if (value === -Infinity) without.push(r)
      floats[at + r] = value === -Infinity ? FAR_LOG_SUM_EXP : value < Infinity ? quotient : NaN
      const rest = quotient - (floats[at + r] as number)
      floats[factors + r] = Math.abs(value) < Infinity ? 1 - this.#unit * rest : 1
      scaled ||= rest !== 0
    }
    floats.fill(0, at + rows, at + roundUp(rows, 8))
    return { without, scaled }
  }

  #loadSegments(row: number, rows: number): SegmentRange {
    const {
      arena: { integers },
      layout,
      context,
      task,
    } = this
    const slice = task.querySegments as Slice
    const at = layout.querySegments >> 2
    copyIn(integers, at, 1, context.array(slice.array) as Int32Array, slice, row, rows, 0, 1)
    return segmentRange(integers, at, rows)
  }

  /** Brings in what the block's keys are asked for by position and segment. */
  open(start: number, keys: number): SegmentBlock {
    const {
      arena,
      layout,
      context,
      task: { keySegments: slice },
    } = this
    let segments: SegmentRange | undefined
    if (slice !== undefined) {
      const at = layout.keySegments >> 2
      copyIn(arena.integers, at, 1, context.array(slice.array) as Int32Array, slice, start, keys, 0, 1)
      segments = segmentRange(arena.integers, at, keys)
    }
    arena.setInteger(P_KEYS, keys)
    arena.setInteger(P_COUNTER_KEY, Math.floor(start / 4))
    arena.setInteger(P_BLOCK_START, start)
    return { start, keys, segments }
  }

  /** Whether no query of the tile may see a key of the block, as far as positions and segments say. */
  isHidden(tile: SegmentTile, block: SegmentBlock): boolean {
    if (isEmpty(bandOf(this.task, tile.row, block.start), tile.rows, block.keys)) return true
    return tile.segments !== undefined && block.segments !== undefined && areDisjoint(tile.segments, block.segments)
  }
}

export function floatsOf(context: TaskContext, id: ArrayId): Float32Array {
  return context.array(id) as Float32Array
}

/** The result of the first call, for every call. */
function loadOnce<T>(load: () => T): () => T {
  let loaded: { readonly value: T } | undefined
  return () => (loaded ??= { value: load() }).value
}
