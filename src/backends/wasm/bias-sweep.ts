import { FLAG_BIAS_MATRIX, TILE_ROWS } from '../../../assembly/abi.ts'
import type { BackwardArena } from '../../plan/backward-arena.ts'
import type { AttentionBiasResult, AttentionBiasTask, BiasPart, OutputHead } from '../../protocol/backward-task.ts'
import type { TaskContext } from '../backend.ts'
import type { Arena } from './arena.ts'
import { copyOut } from './copy-rows.ts'
import { GradientOperands } from './gradient-operands.ts'
import { sinkOf, type FloatSink } from './segment-sinks.ts'
import { SegmentSweep, type RowFacts, type SegmentBlock, type SegmentTile, type SegmentWork } from './segment-sweep.ts'

/**
 * Σ dS of the heads that share a matrix of biases: tile by tile, head by head, so that each element is written once.
 */
export class BiasSweep {
  readonly #sum: Float32Array
  readonly #sweeps: readonly SegmentSweep[]
  readonly #sink: FloatSink
  readonly #dense: { dBias?: Float32Array } = {}

  constructor(
    arena: Arena,
    private readonly layout: BackwardArena,
    private readonly task: AttentionBiasTask,
    context: TaskContext,
  ) {
    this.#sum = new Float32Array(TILE_ROWS * layout.blockRows)
    this.#sweeps = task.parts.map(
      (part) =>
        new SegmentSweep(arena, layout, part, context, new PartGradients(arena, layout, part, context, this.#sum)),
    )
    const { rows, keyStart, keyEnd } = task.parts[0] as BiasPart
    if (task.dBias === true) {
      this.#dense.dBias = new Float32Array(rows * (keyEnd - keyStart))
      this.#sink = { array: this.#dense.dBias, slice: { offset: 0, rowStride: keyEnd - keyStart } }
    } else {
      this.#sink = sinkOf(task.dBias, context)
    }
  }

  get tiles(): number {
    return this.#sweeps.reduce((sum, { tiles }) => sum + tiles, 0)
  }

  get skippedTiles(): number {
    return this.#sweeps.reduce((sum, { skippedTiles }) => sum + skippedTiles, 0)
  }

  /** Yields the turns that the context asks for. */
  *steps(): Generator<Promise<void>> {
    const { rows, keyStart, keyEnd } = this.task.parts[0] as BiasPart
    const { blockRows } = this.layout
    for (const sweep of this.#sweeps) yield* sweep.prepare()
    for (let start = keyStart; start < keyEnd; start += blockRows) {
      const keys = Math.min(blockRows, keyEnd - start)
      for (let row = 0; row < rows; row += TILE_ROWS) {
        this.#sum.fill(0)
        for (const sweep of this.#sweeps) yield* sweep.alone(row / TILE_ROWS, start, keys)
        const { array, slice } = this.#sink
        copyOut(this.#sum, 0, blockRows, array, slice, row, Math.min(TILE_ROWS, rows - row), start - keyStart, keys)
      }
    }
  }

  /** The array that travels with the answer. */
  finish(): Partial<AttentionBiasResult> {
    return this.#dense
  }
}

/** dS of one head, added to a tile that all of them share. */
class PartGradients implements SegmentWork {
  readonly flags = FLAG_BIAS_MATRIX
  readonly heads: readonly OutputHead[]
  readonly #operands: GradientOperands

  constructor(
    private readonly arena: Arena,
    private readonly layout: BackwardArena,
    part: BiasPart,
    context: TaskContext,
    private readonly sum: Float32Array,
  ) {
    this.heads = [part.head]
    this.#operands = new GradientOperands(arena, layout, { ...part, heads: this.heads }, context)
  }

  setPlaces(): void {
    this.#operands.setPlaces()
  }

  inspect(tile: Omit<SegmentTile, 'extreme'>): boolean {
    return this.#operands.inspect(tile)
  }

  loadKeys(block: SegmentBlock): boolean {
    return this.#operands.loadKeys(block)
  }

  loadTile(tile: SegmentTile, facts: RowFacts): void {
    const {
      arena: { floats },
      layout: { transfer, blockRows },
    } = this
    this.#operands.loadTile(tile, facts)
    floats.fill(0, transfer >> 2, (transfer >> 2) + tile.rows * blockRows)
  }

  run(): number {
    return this.arena.kernels.scoreGradientTile()
  }

  storeTile({ rows }: SegmentTile): void {
    const {
      arena: { floats },
      layout: { transfer, blockRows },
      sum,
    } = this
    const from = transfer >> 2
    for (let at = 0; at < rows * blockRows; at++) (sum[at] as number) += floats[from + at] as number
  }
}
