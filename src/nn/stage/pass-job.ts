import { Operands, type SharedCopies } from '../../scheduler/operands.ts'
import type { Ledger } from '../../core/ledger.ts'
import { chunkAt, chunkCount, freeClaims, type PassStage, type StagePass } from '../../protocol/stage-pass.ts'
import type { ArrayId, AttachedArray } from '../../protocol/task.ts'
import type { Job, JobTask } from '../../scheduler/job.ts'
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
    this.lastingLimitBytes = options.lastingLimitBytes
    this.#operands = new Operands(options.transport, copies)
    const binder = new StageBinder(null, this.#operands)
    const cut = stages.map((stage) => this.#cut(stage, binder))
    this.#claims = ledger.array('claims', Int32Array, claimCount(stages, options.chunkRows), options.transport === 'shared')
    const needs = [...binder.needs]
    // More lanes than chunks would be woken for nothing.
    const shares = Math.min(options.lanes, Math.max(...cut.map(chunkCount)))
    this.tasks = Array.from({ length: shares }, (_, index): JobTask => {
      const pass: StagePass = { kind: 'pass', stages: cut, claims: this.#claims, share: index + 1 }
      return { tasks: [pass], needs, group: 0, cost: 0 }
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
    const count = chunkCount(cut)
    const lastFirst = count > 1 && chunkFlops(stage, chunkAt(cut, count - 1)) > chunkFlops(stage, chunkAt(cut, 0))
    return { ...cut, stage: stage.bind(binder, this.options), lastFirst }
  }
}

/** Chunks of these stages, each with its place in a pass's claims. */
export function claimCount(stages: readonly Stage[], chunkRows: number): number {
  return stages.reduce((sum, { batch, rows }) => sum + chunkCount({ batch, rows, chunkRows }), 0)
}
