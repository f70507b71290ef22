import type { ArraySource, Ledger } from '../core/ledger.ts'
import { stagingRowBytes } from '../plan/attention-plan.ts'
import type { AttentionPlan, PlanRequest } from '../plan/attention-request.ts'
import { headAt, resultOfHead, type AttentionHeadsResult } from '../protocol/heads-task.ts'
import type { Task, TaskResult } from '../protocol/messages.ts'
import type { ArrayId, AttachedArray, AttentionTask, AttentionTaskResult, TaskArray } from '../protocol/task.ts'
import type { Job, JobTask, Priority, TaskRun } from '../scheduler/job.ts'
import { Operands, SharedCopies } from '../scheduler/operands.ts'
import { resultsShared, type CheckedCall } from './attention-call.ts'
import type { AttentionInputs } from './attention-options.ts'
import { arraysOf, attentionTasks, type Place, type PlacedTask } from './attention-tasks.ts'
import type { Layout } from './layout.ts'
import { ProgressMeter } from './progress.ts'
import type { ResolvedOptions } from './resolve-options.ts'
import { Results } from './results.ts'
import { SplitKeys } from './split-keys.ts'
import { WeightSelectionResult } from './weight-selection.ts'

/** What was set up for one call. */
export interface AttentionRun {
  readonly request: PlanRequest
  readonly plan: AttentionPlan
  readonly ledger: Ledger
  /** where copies of inputs come from. @default the ledger */
  readonly memory?: ArraySource
}

/** What a task brought for one head. */
interface HeadPart {
  readonly place: Place
  readonly result: AttentionTaskResult
  readonly weightRows: Int32Array | undefined
}

/**
 * One attention call as work for the pool: cuts the rows into tasks, provides their data, puts their results into
 * place.
 */
export class AttentionJob implements Job {
  readonly tasks: readonly JobTask[]
  readonly sharedMemory: boolean
  readonly maxLanes: number
  readonly depth: number
  readonly signal: AbortSignal | undefined
  readonly priority: Priority | undefined
  readonly mayRunBeside: boolean
  readonly results: Results
  readonly selection: WeightSelectionResult | null
  tiles = 0
  skippedTiles = 0
  readonly #layout: Layout
  readonly #options: ResolvedOptions
  readonly #plan: AttentionPlan
  readonly #ledger: Ledger
  readonly #operands: Operands
  readonly #parts: SplitKeys
  readonly #places = new Map<Task, Place>()
  readonly #staging = new Map<JobTask, number>()
  readonly #stagingRowBytes: number
  readonly progress: ProgressMeter

  constructor(
    { layout, options }: CheckedCall,
    inputs: AttentionInputs,
    { request, plan, ledger, memory = ledger }: AttentionRun,
  ) {
    const sharedResults = resultsShared(inputs)
    this.#layout = layout
    this.#options = options
    this.#plan = plan
    this.#ledger = ledger
    this.sharedMemory = plan.transport !== 'transfer'
    this.maxLanes = plan.lanes
    this.depth = plan.depth
    this.signal = options.signal
    this.priority = options.priority
    this.mayRunBeside = plan.mayRunBeside
    this.#stagingRowBytes = stagingRowBytes(request)
    this.#operands = new Operands(plan.transport, new SharedCopies(memory))
    const { batch, heads, queries, valueSize } = layout.sizes
    this.#parts = new SplitKeys(plan.keySplits, valueSize, batch * heads * queries, ledger)
    const destination = plan.keySplits > 1 ? null : (array: TaskArray): ArrayId => this.#operands.whole(array)
    this.results = new Results(
      layout,
      options,
      { transport: plan.transport, shared: sharedResults, destination },
      ledger,
    )
    this.selection =
      typeof options.weights === 'string'
        ? null
        : new WeightSelectionResult(layout.sizes, options.weights, ledger, sharedResults)
    const { results, selection } = this
    const targets = { plan, operands: this.#operands, results: results.destinations, selection }
    const tasks = attentionTasks({ layout, options }, inputs, targets)
    this.tasks = this.#bundle(tasks, tasks[0]?.task.kind === 'attention-heads' ? 1 : plan.tasksPerMessage)
    if (this.tasks.length === 0) this.results.fillEmpty()
    const cost = tasks.reduce((sum, task) => sum + task.cost, 0)
    const total = tasks.reduce((sum, { place }) => sum + place.heads, 0)
    this.progress = new ProgressMeter({ tasks: total, cost, lanes: plan.lanes }, options.onProgress)
  }

  provide(id: ArrayId): AttachedArray['array'] {
    this.#ledger.add('head copies', this.#operands.residentBytes(id))
    return this.#operands.provide(id)
  }

  returned(id: ArrayId): void {
    this.#ledger.remove('head copies', this.#operands.residentBytes(id))
  }

  laneGrew(bytes: number): void {
    this.#ledger.add('lane arenas', bytes)
  }

  dispatched(task: JobTask): void {
    this.#ledger.add('in flight', this.#staging.get(task) ?? 0)
    this.progress.sent(task.cost)
  }

  undone(task: JobTask): void {
    this.#ledger.remove('in flight', this.#staging.get(task) ?? 0)
    this.progress.sent(-task.cost)
  }

  completed(jobTask: JobTask, results: readonly TaskResult[], by: TaskRun): void {
    const parts = jobTask.tasks.flatMap((task, index) => this.#partsOf(task, results[index] as TaskResult))
    // They ran one after the other, the last of them up to now.
    const busyMs = parts.reduce((sum, { result }) => sum + result.elapsedMs, 0)
    let startMs = by.endMs - busyMs
    for (const { place, result, weightRows } of parts) {
      this.#take(place, result, weightRows)
      const { batch, head, rowStart, rows } = place
      const endMs = startMs + result.elapsedMs
      this.#options.onTask?.({ lane: by.lane, kind: by.kind, batch, head, rowStart, rows, startMs, endMs })
      startMs = endMs
    }
    this.#ledger.remove('in flight', this.#staging.get(jobTask) ?? 0)
    this.progress.step(parts.length, jobTask.cost, busyMs)
  }

  /** Called when all tasks are done. */
  finish(): void {
    const matrix = this.results.array('weights')
    if (this.selection !== null && matrix instanceof Float32Array) this.selection.gather(matrix)
  }

  /** What came back for each head of a task. */
  #partsOf(task: Task, result: TaskResult): HeadPart[] {
    const place = this.#places.get(task)
    if (place === undefined) return []
    if (task.kind === 'attention-heads')
      return Array.from({ length: task.count }, (_, index) => ({
        place: { ...place, ...headAt(task.first + index, task.inputs.heads) },
        result: resultOfHead(task, result as AttentionHeadsResult, index),
        weightRows: undefined,
      }))
    return [{ place, result: result as AttentionTaskResult, weightRows: (task as AttentionTask).weightRows }]
  }

  #take(place: Place, partResult: AttentionTaskResult, weightRows: Int32Array | undefined): void {
    const { batch, head, rowStart, rows, part } = place
    this.tiles += partResult.tiles
    this.skippedTiles += partResult.skippedTiles
    const result =
      this.#plan.keySplits === 1 ? partResult : this.#parts.add(`${batch}:${head}:${rowStart}`, part, partResult)
    if (result === undefined) return
    this.results.place(place, result)
    const { keys } = this.#layout.sizes
    weightRows?.forEach((row, index) => {
      const weights = result.weights?.subarray(index * keys, (index + 1) * keys)
      if (weights !== undefined) this.selection?.place(batch, head, rowStart + row, weights)
    })
    this.#options.onChunk?.({ batch, head, rowStart, rows, output: this.results.outputRows(place) })
  }

  /** Tiny tasks go together in one message. */
  #bundle(placed: readonly PlacedTask[], together: number): JobTask[] {
    const bundles: JobTask[] = []
    for (const { task, place } of placed) this.#places.set(task, place)
    for (let start = 0; start < placed.length; start += together) {
      const part = placed.slice(start, start + together)
      const tasks = part.map(({ task }) => task)
      const bundle: JobTask = {
        tasks,
        needs: [...new Set(tasks.flatMap((task) => arraysOf(task)))],
        group: part[0]?.group ?? 0,
        cost: part.reduce((sum, { cost }) => sum + cost, 0),
      }
      bundles.push(bundle)
      this.#staging.set(bundle, this.#stagingBytes(part))
    }
    return bundles
  }

  #stagingBytes(placed: readonly PlacedTask[]): number {
    if (this.#plan.keySplits > 1) return 0 // counted as partials
    const rowBytes = this.#layout.sizes.keys * 4
    return placed.reduce((sum, { task, place }) => {
      const weights = task.kind === 'attention' ? (task.weightRows?.length ?? 0) * rowBytes : 0
      return sum + place.heads * place.rows * this.#stagingRowBytes + weights
    }, 0)
  }
}
