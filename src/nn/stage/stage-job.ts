import { Operands, type SharedCopies } from '../../scheduler/operands.ts'
import type { Ledger } from '../../core/ledger.ts'
import type { Transport } from '../../plan/attention-plan.ts'
import type { Task, TaskResult } from '../../protocol/messages.ts'
import type { RowStageResult } from '../../protocol/stage.ts'
import type { ArrayId, AttachedArray } from '../../protocol/task.ts'
import type { Job, JobTask } from '../../scheduler/job.ts'
import { chunkAt, chunkCount, type StageTask } from '../../protocol/stage-pass.ts'
import type { Chunk, StageTemplate } from '../../protocol/stage-template.ts'
import { dataOf, type HeadBuffer } from './buffers.ts'
import { StageBinder } from './stage-binder.ts'
import type { LaneLimits, ReturnedRows, Stage } from './stage-builder.ts'

/** What a job of stages takes from the plan. */
export interface StageJobOptions extends LaneLimits {
  readonly transport: Transport
  readonly chunkRows: number
  readonly lanes: number
  readonly lastingLimitBytes: number
  readonly signal: AbortSignal | undefined
}

/** One stage as work for the pool, where the scheduler places every chunk: rows travel, or a GPU takes part. */
export class StageJob implements Job {
  readonly tasks: readonly JobTask[]
  readonly sharedMemory: boolean
  readonly maxLanes: number
  readonly depth: number
  readonly signal: AbortSignal | undefined
  readonly lastingLimitBytes: number
  readonly #operands: Operands
  readonly #chunks = new Map<Task, Chunk>()
  readonly #rowBytes: number

  constructor(
    private readonly stage: Stage,
    private readonly options: StageJobOptions,
    private readonly ledger: Ledger,
    copies: SharedCopies,
  ) {
    this.sharedMemory = options.transport !== 'transfer'
    this.maxLanes = options.lanes
    this.signal = options.signal
    this.lastingLimitBytes = options.lastingLimitBytes
    this.#operands = new Operands(options.transport, copies)
    const cut = { batch: stage.batch, rows: stage.rows, chunkRows: options.chunkRows }
    const chunks = Array.from({ length: chunkCount(cut) }, (_, index) => chunkAt(cut, index))
    this.depth = this.sharedMemory && chunks.length >= 2 * options.lanes ? 2 : 1
    const everyChunk = this.sharedMemory ? this.#bind(null) : null
    this.tasks = chunks.map((chunk) => this.#task(chunk, everyChunk ?? this.#bind(chunk)))
    this.#rowBytes = this.sharedMemory ? 0 : transferredRowBytes(stage)
  }

  provide(id: ArrayId): AttachedArray['array'] {
    this.ledger.add('lane copies', this.#operands.residentBytes(id))
    return this.#operands.provide(id)
  }

  returned(id: ArrayId): void {
    this.ledger.remove('lane copies', this.#operands.residentBytes(id))
  }

  lastingBytes(id: ArrayId): number {
    return this.#operands.lastingBytes(id)
  }

  laneKept(bytes: number): void {
    this.ledger.add('lane copies', bytes)
  }

  laneGrew(bytes: number): void {
    this.ledger.add('lane arenas', bytes)
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
      if (chunk !== undefined) stored.forEach((rows, place) => placeRows(this.stage.writes[place], chunk, rows))
    })
    this.ledger.remove('in flight', this.#staging(jobTask))
  }

  #staging({ tasks }: JobTask): number {
    return tasks.reduce((sum, task) => sum + (this.#chunks.get(task)?.rows ?? 0) * this.#rowBytes, 0)
  }

  #bind(chunk: Chunk | null): BoundStage {
    const binder = new StageBinder(chunk, this.#operands)
    return { stage: this.stage.bind(binder, this.options), needs: [...binder.needs] }
  }

  #task(chunk: Chunk, { stage, needs }: BoundStage): JobTask {
    const task: StageTask = { kind: 'stage', stage, chunk }
    this.#chunks.set(task, chunk)
    return { tasks: [task], needs, group: chunk.batch, cost: chunkFlops(this.stage, chunk) }
  }
}

interface BoundStage {
  readonly stage: StageTemplate
  readonly needs: readonly ArrayId[]
}

/** Work of one chunk. */
export function chunkFlops({ flopsPerRow, attention }: Stage, chunk: Chunk): number {
  return flopsPerRow * chunk.rows + (attention?.flops(chunk) ?? 0)
}

/** Bytes that travel for each row of a chunk, to the lane and back, where memory is not shared. */
export function transferredRowBytes(stage: Stage): number {
  const rowsIn = stage.reads.filter((buffer) => buffer !== stage.attention?.key && buffer !== stage.attention?.value)
  return [...rowsIn, ...stage.writes.map(({ buffer }) => buffer)].reduce((sum, buffer) => {
    const elements = buffer.kind === 'rows' ? buffer.width : buffer.heads * buffer.headSize
    return sum + elements * 4
  }, stage.attention?.optionRowBytes ?? 0)
}

/** Copies rows that came back with a task into their buffer. */
function placeRows(returned: ReturnedRows | undefined, chunk: Chunk, rows: Float32Array): void {
  if (returned === undefined) return
  const { buffer, shift } = returned
  const data = dataOf(buffer)
  if (buffer.kind === 'rows') data.set(rows, buffer.offset(chunk.batch, chunk.rowStart))
  else placeHeads(buffer, chunk, shift, rows)
}

function placeHeads(buffer: HeadBuffer, { batch, rowStart, rows }: Chunk, shift: number, heads: Float32Array): void {
  const elements = rows * buffer.headSize
  for (let head = 0; head < buffer.heads; head++) {
    dataOf(buffer).set(heads.subarray(head * elements, (head + 1) * elements), buffer.offset(batch, head, rowStart + shift))
  }
}
