import type { Ledger } from '../core/ledger.ts'
import type { SegmentPlan } from '../plan/segment-call.ts'
import type {
  AttentionBackwardResult,
  AttentionBackwardTask,
  AttentionBiasResult,
  AttentionBiasTask,
  AttentionTransposedResult,
  AttentionTransposedTask,
} from '../protocol/backward-task.ts'
import type { TaskResult } from '../protocol/messages.ts'
import type { ArrayId, AttachedArray, Slice } from '../protocol/task.ts'
import type { Job, JobTask } from '../scheduler/job.ts'
import type { ResolvedOptions } from './resolve-options.ts'
import type { Operands } from '../scheduler/operands.ts'
import { ProgressMeter } from './progress.ts'

type SegmentTask = AttentionBackwardTask | AttentionBiasTask | AttentionTransposedTask
type SegmentResult = AttentionBackwardResult | AttentionBiasResult | AttentionTransposedResult

/** A task, and what becomes of its result. */
export interface PlacedTask {
  readonly task: SegmentTask
  /** tasks of a group share what costs most to send */
  readonly group: number
  /** the same for all segments of a head, so that the pool, which takes the costliest first, keeps them in order */
  readonly cost: number
  /** bytes that travel with the task and its answer, slots aside */
  readonly stagingBytes: number
  /** puts the result into place */
  readonly take: (result: SegmentResult) => void
}

/** Tasks over key segments as work for the pool. */
export class SegmentJob implements Job {
  readonly tasks: readonly JobTask[]
  readonly sharedMemory: boolean
  readonly maxLanes: number
  readonly depth: number
  readonly signal: AbortSignal | undefined
  tiles = 0
  skippedTiles = 0
  readonly #placed = new Map<JobTask, readonly PlacedTask[]>()
  readonly progress: ProgressMeter

  constructor(
    placed: readonly PlacedTask[],
    private readonly plan: SegmentPlan,
    { signal, onProgress }: Pick<ResolvedOptions, 'signal' | 'onProgress'>,
    private readonly operands: Operands,
    private readonly ledger: Ledger,
  ) {
    this.sharedMemory = plan.transport !== 'transfer'
    this.maxLanes = plan.lanes
    this.depth = plan.depth
    this.signal = signal
    this.tasks = this.#bundle(placed)
    const cost = placed.reduce((sum, task) => sum + task.cost, 0)
    this.progress = new ProgressMeter({ tasks: placed.length, cost, lanes: plan.lanes }, onProgress)
  }

  provide(id: ArrayId): AttachedArray['array'] {
    this.ledger.add('head copies', this.operands.residentBytes(id))
    return this.operands.provide(id)
  }

  returned(id: ArrayId): void {
    this.ledger.remove('head copies', this.operands.residentBytes(id))
  }

  laneGrew(bytes: number): void {
    this.ledger.add('lane arenas', bytes)
  }

  dispatched(task: JobTask): void {
    this.ledger.add('in flight', this.#stagingBytes(task))
    this.progress.sent(task.cost)
  }

  undone(task: JobTask): void {
    this.ledger.remove('in flight', this.#stagingBytes(task))
    this.progress.sent(-task.cost)
  }

  completed(task: JobTask, results: readonly TaskResult[]): void {
    this.#placed.get(task)?.forEach(({ take }, index) => {
      const result = results[index] as SegmentResult
      this.tiles += result.tiles
      this.skippedTiles += result.skippedTiles
      take(result)
    })
    this.ledger.remove('in flight', this.#stagingBytes(task))
    const busyMs = results.reduce((sum, { elapsedMs }) => sum + elapsedMs, 0)
    this.progress.step(task.tasks.length, task.cost, busyMs)
  }

  #stagingBytes(task: JobTask): number {
    return this.#placed.get(task)?.reduce((sum, { stagingBytes }) => sum + stagingBytes, 0) ?? 0
  }

  /** Small tasks go together in one message. */
  #bundle(placed: readonly PlacedTask[]): JobTask[] {
    const bundles: JobTask[] = []
    for (let start = 0; start < placed.length; start += this.plan.tasksPerMessage) {
      const part = placed.slice(start, start + this.plan.tasksPerMessage)
      const bundle: JobTask = {
        tasks: part.map(({ task }) => task),
        needs: [...new Set(part.flatMap(({ task }) => arraysOf(task)))],
        group: part[0]?.group ?? 0,
        cost: part.reduce((sum, { cost }) => sum + cost, 0),
      }
      bundles.push(bundle)
      this.#placed.set(bundle, part)
    }
    return bundles
  }
}

/** Every array that a task or a part of it reads or writes. */
function arraysOf(part: object): ArrayId[] {
  return Object.values(part).flatMap((value: unknown): ArrayId[] => {
    if (isSlice(value)) return [value.array]
    return typeof value === 'object' && value !== null ? arraysOf(value) : []
  })
}

function isSlice(value: unknown): value is Slice {
  return typeof value === 'object' && value !== null && 'array' in value && 'rowStride' in value
}
