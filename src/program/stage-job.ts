import type { Ledger } from '../core/ledger.ts'
import { ofBatch } from '../plan/attention-sizes.ts'
import type { Transport } from '../plan/transport.ts'
import type { Task, TaskResult } from '../protocol/messages.ts'
import { sequenceChunks, type StageTask } from '../protocol/stage-pass.ts'
import { chosenOf } from '../protocol/returned-rows.ts'
import type { Chunk } from '../protocol/chunk.ts'
import type { StageTemplate } from '../protocol/stage-template.ts'
import type { RowStageResult } from '../protocol/stage.ts'
import type { ArrayId, TaskArray } from '../protocol/task.ts'
import type { Job, JobTask, Priority } from '../scheduler/job.ts'
import { Operands, type SharedCopies } from '../scheduler/operands.ts'
import { CountedJob } from './counted-job.ts'
import { laneLimits, StageBinder, type LaneLimits, type ValuePlaces } from './bind.ts'
import { isKind, type Value } from './operation.ts'
import { chosenWeights } from './operations/attend.ts'
import type { StoredValue } from './stage-item.ts'
import type { RowStage } from './stage.ts'
import { chunkFlops, transferredRowBytes } from './stage-sizes.ts'
import type { WorkKind, WorkTimes } from './work.ts'

/** What a job of stages takes from the plan. */
export interface StageJobOptions extends LaneLimits {
  readonly transport: Transport
  readonly chunkRows: number
  readonly lanes: number
  readonly lastingLimitBytes: number
  readonly mayRunBeside: boolean
  readonly signal: AbortSignal | undefined
  readonly priority: Priority | undefined
}

/** What a pass tells of its parts when a lane is done. */
export interface PassJobOptions extends StageJobOptions {
  readonly kinds: readonly WorkKind[]
  readonly work: WorkTimes
}

/** One stage as work for the pool, where the scheduler places every chunk: rows travel, or a GPU takes part. */
export class StageJob extends CountedJob implements Job {
  readonly tasks: readonly JobTask[]
  readonly sharedMemory: boolean
  readonly maxLanes: number
  readonly depth: number
  readonly signal: AbortSignal | undefined
  readonly priority: Priority | undefined
  readonly mayRunBeside: boolean
  readonly lastingLimitBytes: number
  readonly #chunks = new Map<Task, Chunk>()
  readonly #rowBytes: number

  constructor(
    private readonly stage: RowStage,
    private readonly options: StageJobOptions,
    private readonly memory: { dataOf(value: Value): TaskArray; places(operands: Operands): ValuePlaces },
    ledger: Ledger,
    copies: SharedCopies,
  ) {
    super(new Operands(options.transport, copies), ledger)
    this.sharedMemory = options.transport !== 'transfer'
    this.maxLanes = options.lanes
    this.signal = options.signal
    this.priority = options.priority
    this.mayRunBeside = options.mayRunBeside
    this.lastingLimitBytes = options.lastingLimitBytes
    const chunks = sequenceChunks({ batch: stage.batch, rows: stage.rows, chunkRows: options.chunkRows })
    this.depth = this.sharedMemory && chunks.length >= 2 * options.lanes ? 2 : 1
    const everyChunk = this.sharedMemory ? this.#bind(null) : null
    this.tasks = chunks.map((chunk) => this.#task(chunk, everyChunk ?? this.#bind(chunk)))
    this.#rowBytes = this.sharedMemory ? 0 : transferredRowBytes(stage)
  }

  dispatched(task: JobTask): void {
    this.ledger.add('in flight', this.#staging(task))
  }

  undone(task: JobTask): void {
    this.ledger.remove('in flight', this.#staging(task))
  }

  completed(jobTask: JobTask, results: readonly TaskResult[]): void {
    jobTask.tasks.forEach((task, index) => {
      const chunk = this.#chunks.get(task)
      const { stored } = results[index] as RowStageResult
      if (chunk !== undefined) stored.forEach((rows, place) => this.#place(this.stage.writes[place], chunk, rows))
    })
    this.ledger.remove('in flight', this.#staging(jobTask))
  }

  #staging({ tasks }: JobTask): number {
    return tasks.reduce((sum, task) => sum + (this.#chunks.get(task)?.rows ?? 0) * this.#rowBytes, 0)
  }

  #bind(chunk: Chunk | null): BoundStage {
    const binder = new StageBinder(chunk, this.operands, this.memory.places(this.operands))
    return { stage: binder.bind(this.stage, laneLimits(this.options)), needs: [...binder.needs] }
  }

  #task(chunk: Chunk, { stage, needs }: BoundStage): JobTask {
    const task: StageTask = { kind: 'stage', stage, chunk }
    this.#chunks.set(task, chunk)
    return { tasks: [task], needs, group: chunk.batch, cost: chunkFlops(this.stage, chunk) }
  }

  /** Copies rows that came back with a task into their value. */
  #place(returned: StoredValue | undefined, chunk: Chunk, rows: TaskArray): void {
    if (returned === undefined) return
    const { to, shifts } = returned
    const data = this.memory.dataOf(to)
    const chosen = weightRows(to)
    if (chosen !== null) {
      const { first, rows: inside } = chosenOf(chosen, { row: chunk.rowStart, rows: chunk.rows })
      placeHeads(to, data, { batch: chunk.batch, rowStart: first, rows: inside.length }, rows)
    } else if (to.layout === 'rows') data.set(rows, (chunk.batch * to.rows + chunk.rowStart) * to.width)
    else placeHeads(to, data, { ...chunk, rowStart: chunk.rowStart + ofBatch(shifts, chunk.batch) }, rows)
  }
}

interface BoundStage {
  readonly stage: StageTemplate
  readonly needs: readonly ArrayId[]
}

/** The rows that a value of chosen weights holds; null of any other value. */
function weightRows(value: Value): readonly number[] | null {
  const { producer } = value
  if (!isKind(producer, 'attend') || producer.attributes.results[producer.outputs.indexOf(value) - 1] !== 'weights')
    return null
  return chosenWeights(producer.attributes.options)?.rows ?? null
}

function placeHeads(
  { width, heads, capacity }: Value,
  data: TaskArray,
  { batch, rowStart, rows }: Chunk,
  source: TaskArray,
): void {
  const size = width / heads
  for (let head = 0; head < heads; head++) {
    data.set(
      source.subarray(head * rows * size, (head + 1) * rows * size),
      ((batch * heads + head) * capacity + rowStart) * size,
    )
  }
}
