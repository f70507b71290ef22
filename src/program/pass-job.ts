import type { Ledger } from '../core/ledger.ts'
import type { TaskResult } from '../protocol/messages.ts'
import {
  chunkAt,
  freeClaims,
  passSteps,
  type PassStage,
  type RowsPass,
  type StagePass,
  type StagePassResult,
} from '../protocol/stage-pass.ts'
import type { ArrayId, AttachedArray } from '../protocol/task.ts'
import type { Job, JobTask, Priority } from '../scheduler/job.ts'
import { Operands, type SharedCopies } from '../scheduler/operands.ts'
import { laneLimits, StageBinder, type ValuePlaces } from './bind.ts'
import { backwardTemplate, slabPass, tablePass } from './bind-gradients.ts'
import type { RowStage, Stage } from './stage.ts'
import type { PassJobOptions, StageJobOptions } from './stage-job.ts'
import { chunkFlops, largestChunkFlops, stageChunkRowsOf, stageFlops } from './stage-sizes.ts'

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
  /** sums are added in place: what a lost lane had begun cannot be done again, but the whole pass can */
  readonly retries: boolean
  readonly #operands: Operands
  readonly #claims: Int32Array

  constructor(
    stages: readonly Stage[],
    private readonly options: PassJobOptions,
    memory: { places(operands: Operands): ValuePlaces },
    private readonly ledger: Ledger,
    copies: SharedCopies,
  ) {
    this.maxLanes = options.lanes
    this.signal = options.signal
    this.priority = options.priority
    this.mayRunBeside = options.mayRunBeside
    this.lastingLimitBytes = options.lastingLimitBytes
    this.retries = !stages.some(isSumming)
    this.#operands = new Operands(options.transport, copies)
    const binder = new StageBinder(null, this.#operands, memory.places(this.#operands))
    const passes = passStages(stages, binder, options)
    const steps = [...passSteps(passes)]
    this.#claims = ledger.array(
      'claims',
      Int32Array,
      steps.reduce((sum, { chunks }) => sum + chunks, 0),
      options.transport === 'shared',
    )
    const needs = [...binder.needs]
    // More lanes than chunks would be woken for nothing.
    const shares = Math.min(
      options.lanes,
      steps.reduce((most, { chunks }) => Math.max(most, chunks), 0),
    )
    const flops = stages.map((stage) => ({
      total: stageFlops(stage),
      largestChunk: largestChunkFlops(stage, options.chunkRows),
    }))
    const cost = flops.reduce((sum, { total }) => sum + total, 0) / Math.max(1, shares)
    const pieceCost = flops.reduce((most, { largestChunk }) => Math.max(most, largestChunk), 0)
    this.tasks = Array.from({ length: shares }, (_, index): JobTask => {
      const pass: StagePass = { kind: 'pass', stages: passes, claims: this.#claims, share: index + 1 }
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

  /** Lanes wrote in place. */
  completed(_task: JobTask, [result]: readonly TaskResult[]): void {
    this.options.work.add(this.options.kinds, (result as StagePassResult).partMs)
  }
}

/** Whether a stage adds to what is in memory. */
export function isSumming(stage: Stage): boolean {
  return stage.kind !== 'rows' || stage.slab !== null
}

/** Stages as lanes run them. */
export function passStages(stages: readonly Stage[], binder: StageBinder, options: StageJobOptions): PassStage[] {
  return stages.map((stage) => {
    if (stage.kind === 'attention-backward')
      return { kind: 'attention-backward', template: backwardTemplate(stage, binder) }
    if (stage.kind === 'table') return tablePass(stage, binder, options.registerBytes)
    const rows = rowsPass(stage, binder, options)
    return stage.slab === null ? rows : slabPass({ ...stage, slab: stage.slab }, rows, binder, options.registerBytes)
  })
}

function rowsPass(stage: RowStage, binder: StageBinder, options: StageJobOptions): RowsPass {
  const { batch, rows } = stage
  const total = batch * rows
  const range = { start: 0, rows: total }
  const cut = { batch, rows, chunkRows: stageChunkRowsOf(stage, options.chunkRows) }
  const last = Math.ceil(total / cut.chunkRows) - 1
  const lastFirst = last > 0 && chunkFlops(stage, chunkAt(cut, range, last)) > chunkFlops(stage, chunkAt(cut, range, 0))
  return { kind: 'rows', ...cut, stage: binder.bind(stage, laneLimits(options)), lastFirst }
}
