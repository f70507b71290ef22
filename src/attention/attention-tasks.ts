import { visiblePairs, type AttentionSizes, type Visibility } from '../plan/attention-sizes.ts'
import type { AttentionPlan } from '../plan/attention-request.ts'
import { headTask, type HeadInputs, type HeadRows, type UnplacedTask } from '../protocol/head-inputs.ts'
import { destinationsOf, headAt, type AttentionHeadsTask, type HeadResult } from '../protocol/heads-task.ts'
import type { MovingHeads, MovingScores, MovingSlice } from '../protocol/moving-slice.ts'
import type { ArrayId, AttentionTask, Slice, TaskArray } from '../protocol/task.ts'
import type { Operands } from '../scheduler/operands.ts'
import { callSplits, type CheckedCall } from './attention-call.ts'
import type { AttentionInputs } from './attention-options.ts'
import type { ScoreStrides } from './broadcast.ts'
import type { Strides } from './layout.ts'
import type { WeightSelectionResult } from './weight-selection.ts'

/** Where a task's rows belong. */
export interface Place {
  readonly batch: number
  readonly head: number
  /** heads from that one on, of the batches that follow too: more than one in a task of many */
  readonly heads: number
  readonly rowStart: number
  readonly rows: number
  /** which part of the keys */
  readonly part: number
}

/** A task, with what its call must know of it. */
export interface PlacedTask {
  readonly task: AttentionTask | AttentionHeadsTask
  readonly place: Place
  /** flops */
  readonly cost: number
  /** tasks of a group read the same keys */
  readonly group: number
}

/** What tasks are made for. */
export interface TaskTargets {
  readonly plan: AttentionPlan
  readonly operands: Operands
  readonly results: readonly HeadResult[]
  readonly selection: WeightSelectionResult | null
}

/**
 * The tasks of one call, in the order of batches, heads and rows; of one query row over parts of the keys, those over
 * the same keys together.
 */
export function attentionTasks(call: CheckedCall, tensors: AttentionInputs, targets: TaskTargets): PlacedTask[] {
  const { heads, queries, keys } = call.layout.sizes
  if (keys === 0 || heads === 0 || queries === 0) return [] // however many batches of nothing there are
  return new AttentionTasks(call, tensors, targets).cut()
}

class AttentionTasks {
  readonly #call: CheckedCall
  readonly #targets: TaskTargets
  readonly #arrays = new Map<ArrayId, TaskArray>()
  readonly #inputs: HeadInputs
  readonly #costs: ChunkCosts

  constructor(call: CheckedCall, tensors: AttentionInputs, targets: TaskTargets) {
    this.#call = call
    this.#targets = targets
    this.#inputs = this.#headInputs(tensors)
    const { settings, queryOffset, keyLength } = call.options
    this.#costs = new ChunkCosts(call.layout.sizes, { ...settings, queryOffset, keyLength })
  }

  cut(): PlacedTask[] {
    const { batch, heads, queries } = this.#call.layout.sizes
    if (this.#holdsManyHeads()) return this.#cutHeads()
    const tasks: PlacedTask[] = []
    for (let batchHead = 0; batchHead < batch * heads; batchHead++) tasks.push(...this.#cutRows(batchHead))
    return queries === 1 && callSplits(this.#call.layout, this.#call.options).length > 1 ? groupsTogether(tasks) : tasks
  }

  /** Whether a message of several tasks is one task of as many heads, which the lane takes apart. */
  #holdsManyHeads(): boolean {
    const { plan, selection } = this.#targets
    return (
      plan.tasksPerMessage > 1 &&
      plan.keySplits === 1 &&
      plan.transport !== 'transfer' &&
      plan.chunkRows >= this.#call.layout.sizes.queries &&
      plan.laneKinds.every((kind) => kind === 'wasm') &&
      selection === null
    )
  }

  #cutHeads(): PlacedTask[] {
    const { batch, heads, keyValueHeads, queries } = this.#call.layout.sizes
    const { plan, results } = this.#targets
    const tasks: PlacedTask[] = []
    for (let first = 0; first < batch * heads; first += plan.tasksPerMessage) {
      const count = Math.min(plan.tasksPerMessage, batch * heads - first)
      const at = headAt(first, heads)
      tasks.push({
        task: { kind: 'attention-heads', inputs: this.#inputs, results, rows: queries, first, count },
        place: { ...at, heads: count, rowStart: 0, rows: queries, part: 0 },
        cost: this.#costs.ofHeads(first, count),
        group: at.batch * keyValueHeads,
      })
    }
    return tasks
  }

  /** A task for each chunk of rows of one head, and each part of the keys. */
  #cutRows(batchHead: number): PlacedTask[] {
    const { heads, keyValueHeads, queries } = this.#call.layout.sizes
    const { batch, head } = headAt(batchHead, heads)
    const { chunkRows } = this.#targets.plan
    const splits = callSplits(this.#call.layout, this.#call.options)
    const group = batch * keyValueHeads + Math.floor((head * keyValueHeads) / heads)
    const tasks: PlacedTask[] = []
    for (let row = 0; row < queries; row += chunkRows) {
      const rows = Math.min(chunkRows, queries - row)
      const cost = this.#costs.ofRows(batch, row, rows) / splits.length
      const whole = this.#task(head, { batch, row, rows })
      splits.forEach((split, part) => {
        const task =
          splits.length === 1 ? whole : { ...whole, ...split, output: true as const, logSumExp: true as const }
        tasks.push({ task, place: { batch, head, heads: 1, rowStart: row, rows, part }, cost, group })
      })
    }
    return tasks
  }

  #task(head: number, run: HeadRows): AttentionTask {
    const { results, selection, plan } = this.#targets
    const inputs = headTask(this.#inputs, head, run)
    const standard = this.#call.options.settings.standard
    const weightRows = standard ? undefined : selection?.rowsOf(head, run.row, run.rows)
    return {
      ...(plan.transport === 'transfer' ? this.#dense(inputs) : inputs),
      ...destinationsOf(results, head, run, () => true),
      ...(weightRows === undefined ? {} : { weights: true, weightRows }),
      ...(plan.device === null ? {} : { device: { ...plan.device, rows: plan.chunkRows } }),
    }
  }

  #headInputs({ query, key, value }: AttentionInputs): HeadInputs {
    const { layout, options } = this.#call
    const { heads, keyValueHeads, keys, queries } = layout.sizes
    const { settings, keyLength, queryOffset, alibiSlopes, segments, mask, bias } = options
    return {
      settings,
      keys,
      keyLength,
      queryOffset,
      alibiSlopes,
      querySegments: segments === null ? null : this.#numbers(segments.query, queries, 1),
      keySegments: segments === null ? null : this.#numbers(segments.key, keys, 0),
      heads,
      keyHeads: keyValueHeads,
      query: this.#heads(query.data, layout.query, layout.query.row),
      key: this.#heads(key.data, layout.key, 0),
      value: this.#heads(value.data, layout.value, 0),
      mask: mask === null ? null : this.#scores(mask.data, mask.strides),
      bias: bias === null ? null : this.#scores(bias.data, bias.strides),
    }
  }

  #whole(array: TaskArray): ArrayId {
    const id = this.#targets.operands.whole(array)
    this.#arrays.set(id, array)
    return id
  }

  #heads(array: TaskArray, { batch, head, row }: Strides, startStride: number): MovingHeads {
    return {
      array: this.#whole(array),
      offset: 0,
      batchStride: batch,
      headStride: head,
      rowStride: row,
      startStride,
    }
  }

  #scores(array: TaskArray, strides: ScoreStrides): MovingScores {
    const { row, column, start = 0 } = strides
    return { ...this.#heads(array, strides, row), offset: start, columnStride: column }
  }

  #numbers(array: TaskArray, perBatch: number, startStride: number): MovingSlice {
    return { array: this.#whole(array), offset: 0, rowStride: 1, columnStride: 1, batchStride: perBatch, startStride }
  }

  /** By transfer a task's inputs are dense copies of their own; all tasks of one key head share those of its keys. */
  #dense(task: UnplacedTask): UnplacedTask {
    const { keys, headSize, valueSize } = task.settings
    const { mask, bias, querySegments, keySegments } = task
    const part = (slice: Slice, rows: number, columns: number, name?: string): Slice => {
      const { array, offset, rowStride, columnStride = 1 } = slice
      const whole = this.#arrays.get(array) as TaskArray
      const key = name === undefined ? undefined : `${name}:${offset}`
      return this.#targets.operands.slice({ array: whole, offset, rows, rowStride, columns, columnStride }, key)
    }
    return {
      ...task,
      query: part(task.query, task.rows, headSize),
      key: part(task.key, keys, headSize, 'key'),
      value: part(task.value, keys, valueSize, 'value'),
      ...(mask === undefined ? {} : { mask: part(mask, task.rows, keys) }),
      ...(bias === undefined ? {} : { bias: part(bias, task.rows, keys) }),
      ...(querySegments === undefined ? {} : { querySegments: part(querySegments, task.rows, 1) }),
      ...(keySegments === undefined ? {} : { keySegments: part(keySegments, keys, 1, 'segments') }),
    }
  }
}

/** Flops of rows and heads by the pairs that positions leave; where batches are alike, counted for one of them. */
class ChunkCosts {
  readonly #flopsPerPair: number
  readonly #batchesAreAlike: boolean
  readonly #known = new Map<string, number>()

  constructor(
    private readonly sizes: AttentionSizes,
    private readonly visibility: Visibility,
  ) {
    this.#flopsPerPair = 2 * (sizes.headSize + sizes.valueSize)
    this.#batchesAreAlike = visibility.queryOffset.length <= 1 && visibility.keyLength.length <= 1
  }

  ofRows(batch: number, rowStart: number, rows: number): number {
    const name = `${this.#batchesAreAlike ? 0 : batch}:${rowStart}`
    const known = this.#known.get(name)
    if (known !== undefined) return known
    const flops = visiblePairs(rowStart, rows, batch, this.visibility) * this.#flopsPerPair
    this.#known.set(name, flops)
    return flops
  }

  /** All rows of the heads with b·H + h from `first` on. */
  ofHeads(first: number, count: number): number {
    const { heads, queries } = this.sizes
    if (this.#batchesAreAlike) return count * this.ofRows(0, 0, queries)
    let flops = 0
    for (let batchHead = first; batchHead < first + count; batchHead++)
      flops += this.ofRows(Math.floor(batchHead / heads), 0, queries)
    return flops
  }
}

/** Tasks over the same keys beside each other, so that a lane can join the heads of a group. */
function groupsTogether(tasks: readonly PlacedTask[]): PlacedTask[] {
  return [...tasks].sort((a, b) => a.group - b.group || a.place.part - b.place.part || a.place.head - b.place.head)
}

/** Every array that a task reads or writes. */
export function arraysOf(task: AttentionTask | AttentionHeadsTask): ArrayId[] {
  if (task.kind === 'attention') return arraysIn(task)
  return [...arraysIn(task.inputs), ...task.results.flatMap(({ to }) => (to === 'returned' ? [] : [to.array]))]
}

/** The arrays that slices name. */
function arraysIn(parts: object): ArrayId[] {
  return Object.values(parts).flatMap((part: unknown) => (isSlice(part) ? [part.array] : []))
}

function isSlice(value: unknown): value is Slice {
  return typeof value === 'object' && value !== null && 'array' in value && 'rowStride' in value
}
