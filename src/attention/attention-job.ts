import type { ArraySource, Ledger } from '../core/ledger.ts'
import { stagingRowBytes } from '../plan/attention-plan.ts'
import type { AttentionPlan, PlanRequest } from '../plan/attention-request.ts'
import { ofBatch, visiblePairs, type Visibility } from '../plan/attention-sizes.ts'
import type { TaskResult } from '../protocol/messages.ts'
import type { ArrayId, AttachedArray, AttentionTask, AttentionTaskResult, Slice, TaskArray } from '../protocol/task.ts'
import type { Job, JobTask, Priority, TaskRun } from '../scheduler/job.ts'
import { callSplits, resultsShared, type CheckedCall } from './attention-call.ts'
import type { AttentionInputs } from './attention-options.ts'
import type { Layout, Strides } from './layout.ts'
import { Operands, SharedCopies } from '../scheduler/operands.ts'
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

/** Where a task's rows belong. */
interface Place {
  readonly batch: number
  readonly head: number
  readonly rowStart: number
  readonly rows: number
  /** which part of the keys */
  readonly part: number
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
  readonly #splits: readonly { readonly keyStart: number; readonly keyEnd: number }[]
  readonly #parts: SplitKeys
  readonly #places = new Map<AttentionTask, Place>()
  readonly #staging = new Map<JobTask, number>()
  readonly #stagingRowBytes: number
  readonly progress: ProgressMeter

  constructor(
    { layout, options }: CheckedCall,
    private readonly inputs: AttentionInputs,
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
    this.#splits = callSplits(layout, options)
    this.#parts = new SplitKeys(this.#splits.length, valueSize, batch * heads * queries, ledger)
    const inPlace = this.#splits.length > 1 ? null : (array: TaskArray): ArrayId => this.#operands.whole(array)
    this.results = new Results(layout, options, plan.transport, sharedResults, ledger, inPlace)
    this.selection =
      typeof options.weights === 'string'
        ? null
        : new WeightSelectionResult(layout.sizes, options.weights, ledger, sharedResults)
    this.tasks = this.#bundle(layout.sizes.keys === 0 ? [] : this.#cut(request.visibility))
    if (this.tasks.length === 0) this.results.fillEmpty()
    const cost = this.tasks.reduce((sum, task) => sum + task.cost, 0)
    const total = this.tasks.reduce((sum, task) => sum + task.tasks.length, 0)
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
    // Tasks of one message ran one after the other, the last of them up to now.
    const busyMs = results.reduce((sum, { elapsedMs }) => sum + elapsedMs, 0)
    let startMs = by.endMs - busyMs
    results.forEach((result, index) => {
      const task = jobTask.tasks[index]
      if (task?.kind !== 'attention') return
      const place = this.#places.get(task)
      if (place === undefined) return
      this.#take(task, place, result as AttentionTaskResult)
      const { batch, head, rowStart, rows } = place
      this.#options.onTask?.({
        lane: by.lane,
        kind: by.kind,
        batch,
        head,
        rowStart,
        rows,
        startMs,
        endMs: startMs + result.elapsedMs,
      })
      startMs += result.elapsedMs
    })
    this.#ledger.remove('in flight', this.#staging.get(jobTask) ?? 0)
    this.progress.step(jobTask.tasks.length, jobTask.cost, busyMs)
  }

  /** Called when all tasks are done. */
  finish(): void {
    const matrix = this.results.array('weights')
    if (this.selection !== null && matrix instanceof Float32Array) this.selection.gather(matrix)
  }

  #take(task: AttentionTask, { batch, head, rowStart, rows, part }: Place, partResult: AttentionTaskResult): void {
    this.tiles += partResult.tiles
    this.skippedTiles += partResult.skippedTiles
    const result =
      this.#splits.length === 1 ? partResult : this.#parts.add(`${batch}:${head}:${rowStart}`, part, rows, partResult)
    if (result === undefined) return
    this.results.place(batch, head, rowStart, rows, result)
    const { keys } = this.#layout.sizes
    task.weightRows?.forEach((row, index) => {
      const weights = result.weights?.subarray(index * keys, (index + 1) * keys)
      if (weights !== undefined) this.selection?.place(batch, head, rowStart + row, weights)
    })
    this.#options.onChunk?.({
      batch,
      head,
      rowStart,
      rows,
      output: this.results.outputRows(batch, head, rowStart, rows),
    })
  }

  /** One task for each chunk of rows of each head. */
  #cut(visibility: Visibility): { task: AttentionTask; cost: number; group: number }[] {
    const { batch, heads, keyValueHeads, queries, headSize, valueSize } = this.#layout.sizes
    const cut: { task: AttentionTask; cost: number; group: number }[] = []
    if (heads === 0 || queries === 0) return cut // however many batches of nothing there are
    for (let b = 0; b < batch; b++) {
      for (let h = 0; h < heads; h++) {
        const keyValueHead = Math.floor((h * keyValueHeads) / heads)
        for (let rowStart = 0; rowStart < queries; rowStart += this.#plan.chunkRows) {
          const rows = Math.min(this.#plan.chunkRows, queries - rowStart)
          const cost = visiblePairs(rowStart, rows, b, visibility) * 2 * (headSize + valueSize)
          const whole = this.#task(b, h, keyValueHead, rowStart, rows)
          for (const [part, split] of this.#splits.entries()) {
            const task =
              this.#splits.length === 1
                ? whole
                : { ...whole, ...split, output: true as const, logSumExp: true as const }
            this.#places.set(task, { batch: b, head: h, rowStart, rows, part })
            cut.push({ task, cost: cost / this.#splits.length, group: b * keyValueHeads + keyValueHead })
          }
        }
      }
    }
    return queries === 1 && this.#splits.length > 1 ? groupsTogether(cut) : cut
  }

  #task(b: number, h: number, keyValueHead: number, rowStart: number, rows: number): AttentionTask {
    const { heads, keys, queries, headSize, valueSize } = this.#layout.sizes
    const { settings, queryOffset, keyLength, alibiSlopes, segments, mask, bias } = this.#options
    const headOf = `${b}:${keyValueHead}`
    const rowPart = (
      array: Float32Array,
      strides: Strides,
      head: number,
      start: number,
      count: number,
      columns: number,
    ) => ({
      array,
      offset: b * strides.batch + head * strides.head + start * strides.row,
      rows: count,
      rowStride: strides.row,
      columns,
      columnStride: 1,
    })
    const scores = ({ data, strides }: NonNullable<typeof mask | typeof bias>): Slice =>
      this.#operands.slice({
        array: data,
        offset: b * strides.batch + h * strides.head + rowStart * strides.row,
        rows,
        rowStride: strides.row,
        columns: keys,
        columnStride: strides.column,
      })
    const weightRows = settings.standard ? undefined : this.selection?.rowsOf(h, rowStart, rows)
    const destinations = this.results.destinations(b, h, rowStart)
    return {
      kind: 'attention',
      settings,
      batchHead: b * heads + h,
      rowStart,
      rows,
      keyStart: 0,
      keyEnd: keys,
      keyLength: ofBatch(keyLength, b),
      queryOffset: ofBatch(queryOffset, b),
      alibiSlope: alibiSlopes?.[(b * heads + h) % alibiSlopes.length] ?? 0,
      query: this.#operands.slice(rowPart(this.inputs.query.data, this.#layout.query, h, rowStart, rows, headSize)),
      key: this.#operands.slice(
        rowPart(this.inputs.key.data, this.#layout.key, keyValueHead, 0, keys, headSize),
        `key:${headOf}`,
      ),
      value: this.#operands.slice(
        rowPart(this.inputs.value.data, this.#layout.value, keyValueHead, 0, keys, valueSize),
        `value:${headOf}`,
      ),
      ...(mask === null ? {} : { mask: scores(mask) }),
      ...(bias === null ? {} : { bias: scores(bias) }),
      ...(segments === null
        ? {}
        : {
            querySegments: this.#operands.slice({
              array: segments.query,
              offset: b * queries + rowStart,
              rows,
              rowStride: 1,
              columns: 1,
              columnStride: 1,
            }),
            keySegments: this.#operands.slice(
              { array: segments.key, offset: b * keys, rows: keys, rowStride: 1, columns: 1, columnStride: 1 },
              `segments:${b}`,
            ),
          }),
      ...destinations,
      output: destinations.output ?? true,
      ...(weightRows === undefined ? {} : { weights: true, weightRows }),
      ...(this.#plan.device === null ? {} : { device: { ...this.#plan.device, rows: this.#plan.chunkRows } }),
    }
  }

  /** Tiny tasks go together in one message. */
  #bundle(cut: readonly { task: AttentionTask; cost: number; group: number }[]): JobTask[] {
    const bundles: JobTask[] = []
    const { tasksPerMessage } = this.#plan
    for (let start = 0; start < cut.length; start += tasksPerMessage) {
      const part = cut.slice(start, start + tasksPerMessage)
      const tasks = part.map(({ task }) => task)
      const bundle: JobTask = {
        tasks,
        needs: [...new Set(tasks.flatMap((task) => arraysOf(task)))],
        group: part[0]?.group ?? 0,
        cost: part.reduce((sum, { cost }) => sum + cost, 0),
      }
      bundles.push(bundle)
      this.#staging.set(bundle, this.#stagingBytes(tasks))
    }
    return bundles
  }

  #stagingBytes(tasks: readonly AttentionTask[]): number {
    if (this.#splits.length > 1) return 0 // counted as partials
    return tasks.reduce(
      (sum, task) =>
        sum + task.rows * this.#stagingRowBytes + (task.weightRows?.length ?? 0) * this.#layout.sizes.keys * 4,
      0,
    )
  }
}

/** Tasks over the same keys beside each other, so that a lane can join the heads of a group. */
function groupsTogether<Cut extends { readonly task: AttentionTask; readonly group: number }>(
  cut: readonly Cut[],
): Cut[] {
  return [...cut].sort(
    (a, b) => a.group - b.group || a.task.keyStart - b.task.keyStart || a.task.batchHead - b.task.batchHead,
  )
}

/** Every array that a task reads or writes. */
function arraysOf(task: AttentionTask): ArrayId[] {
  return Object.values(task).flatMap((part: unknown) => (isSlice(part) ? [part.array] : []))
}

function isSlice(value: unknown): value is Slice {
  return typeof value === 'object' && value !== null && 'array' in value && 'rowStride' in value
}
