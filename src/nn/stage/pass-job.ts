import { Operands, type SharedCopies } from '../../attention/operands.ts'
import type { Ledger } from '../../core/ledger.ts'
import { chunkAt, chunkCount, freeClaims, type PassStage, type StagePass } from '../../protocol/stage-pass.ts'
import type { ArrayId, AttachedArray } from '../../protocol/task.ts'
import type { Job, JobTask, Priority } from '../../scheduler/job.ts'
import { StageBinder } from './stage-binder.ts'
import type { Stage } from './stage-builder.ts'
import { chunkFlops, type StageJobOptions } from './stage-job.ts'

/** Stages one after the other as work for the pool: a share for each lane, which divide the chunks among themselves. */
export class PassJob implements Job {
  readonly tasks: readonly JobTask[]
  readonly sharedMemory = true
  readonly isPass = true
  readonly depth = 1
  readonly maxLanes: number
  readonly signal: AbortSignal | undefined
  readonly priority: Priority | undefined
  readonly mayRunBeside: boolean
  readonly lastingLimitBytes: number
  readonly #operands: Operands
  readonly #claims: Int32Array

  constructor(
    stages: readonly Stage[],
    private readonly options: StageJobOptions,
    private readonly ledger: Ledger,
    copies: SharedCopies,
  ) {
    this.maxLanes = options.lanes
    this.signal = options.signal
    this.priority = options.priority
    this.mayRunBeside = options.mayRunBeside
    this.lastingLimitBytes = options.lastingLimitBytes
    this.#operands = new Operands(options.transport, copies)
    const binder = new StageBinder(null, this.#operands)
    const cut = stages.map((stage) => this.#cut(stage, binder))
    this.#claims = ledger.array('claims', Int32Array, claimCount(stages, options.chunkRows), options.transport === 'shared')
    const needs = [...binder.needs]
    // More lanes than chunks would be woken for nothing.
    const shares = Math.min(options.lanes, Math.max(...cut.map(chunkCount)))
    const flops = stages.map((stage) => flopsOf(stage, options.chunkRows))
    const cost = flops.reduce((sum, { total }) => sum + total, 0) / shares
    const pieceCost = Math.max(...flops.map(({ largestChunk }) => largestChunk))
    this.tasks = Array.from({ length: shares }, (_, index): JobTask => {
      const pass: StagePass = { kind: 'pass', stages: cut, claims: this.#claims, share: index + 1 }
      return { tasks: [pass], needs, group: 0, cost, pieceCost }
    })
  }

  provide(id: ArrayId): AttachedArray['array'] {
    return this.#operands.provide(id)
  }

  lastingBytes(id: ArrayId): number {
    return this.#operands.lastingBytes(id)
  }

  laneGrew(bytes: number): void {
    this.ledger.add('lane arenas', bytes)
  }

  /** The lane died: others may take what it had begun. */
  undone({ tasks }: JobTask): void {
    for (const task of tasks) if (task.kind === 'pass') freeClaims(this.#claims, task.share)
  }

  completed(): void {
    // Lanes wrote in place.
  }

  #cut(stage: Stage, binder: StageBinder): PassStage {
    const { batch, rows } = stage
    const cut = { batch, rows, chunkRows: this.options.chunkRows }
    const { first, last } = flopsOf(stage, this.options.chunkRows)
    return { ...cut, stage: stage.bind(binder, this.options), lastFirst: last > first }
  }
}

/** Work of a stage's chunks, which grows or shrinks evenly from the first to the last. */
function flopsOf(stage: Stage, chunkRows: number): { first: number; last: number; largestChunk: number; total: number } {
  const cut = { batch: stage.batch, rows: stage.rows, chunkRows }
  const count = chunkCount(cut)
  if (count === 0) return { first: 0, last: 0, largestChunk: 0, total: 0 }
  const first = chunkFlops(stage, chunkAt(cut, 0))
  const last = chunkFlops(stage, chunkAt(cut, count - 1))
  return { first, last, largestChunk: Math.max(first, last), total: (count * (first + last)) / 2 }
}

/** Chunks of these stages, each with its place in a pass's claims. */
export function claimCount(stages: readonly Stage[], chunkRows: number): number {
  return stages.reduce((sum, { batch, rows }) => sum + chunkCount({ batch, rows, chunkRows }), 0)
}
