import type { Ledger } from '../core/ledger.ts'
import { isShared } from '../core/shared-memory.ts'
import { visiblePairs } from '../plan/attention-sizes.ts'
import { keySegments, type KeySegment } from '../plan/key-segments.ts'
import type { SegmentPlan } from '../plan/segment-call.ts'
import type {
  AttentionBackwardResult as TaskGradients,
  AttentionBackwardTask,
  BackwardHead,
} from '../protocol/backward-task.ts'
import type { BackwardArrays } from './backward-arrays.ts'
import type { BackwardCall } from './backward-call.ts'
import type { AttentionBackwardResult } from './backward-options.ts'
import { BiasResult } from './bias-gradient.ts'
import { GradientSlots } from './gradient-slots.ts'
import type { Operands } from '../scheduler/operands.ts'
import type { PlacedTask } from './segment-job.ts'
import { writesInPlace } from './gradient-placement.ts'
import { KeyRowResult } from './segment-results.ts'
import { SegmentTasks } from './segment-tasks.ts'
import { foldRelativeBias } from './relative-bias.ts'
import { sharedBiasTasks } from './shared-bias-tasks.ts'

/** Which task: a key head of a batch, and a segment of its keys. */
interface TaskPlace {
  readonly batch: number
  readonly keyHead: number
  readonly index: number
  readonly segment: KeySegment
}

/** What one run of a call works with. */
interface TasksRun {
  readonly plan: SegmentPlan
  readonly operands: Operands
  readonly ledger: Ledger
  /**
   * whether long slots are added in slices; false for a caller that cannot wait, who may then ask for `gradients` at
   * once
   */
  readonly inSlices: boolean
}

/** The tasks of one backward call, and its gradients as they come back. */
export class BackwardTasks {
  readonly placed: readonly PlacedTask[]
  readonly #plan: SegmentPlan
  readonly #tasks: SegmentTasks
  readonly #dQuery: Float32Array
  readonly #dKey: KeyRowResult
  readonly #dValue: KeyRowResult
  readonly #dBias: BiasResult | null
  readonly #slots: GradientSlots
  /** each task's sums over its pairs, by query head, in the order in which they are added */
  readonly #slopes: { readonly head: number; sum: number }[] = []

  constructor(
    private readonly call: BackwardCall,
    private readonly arrays: BackwardArrays,
    { plan, operands, ledger, inSlices }: TasksRun,
  ) {
    this.#plan = plan
    const {
      layout: {
        sizes: { queries, headSize, valueSize },
        query,
        key,
        value,
      },
    } = call
    const inPlace = writesInPlace(plan.transport, Object.values(arrays))
    const shared = Object.values(arrays).every((array) => isShared(array))
    const whole = inPlace ? (array: Float32Array): number => operands.whole(array) : null
    ledger.add('gradient slots', plan.bytes['gradient slots'] ?? 0)
    this.#tasks = new SegmentTasks(call, operands, arrays)
    this.#dQuery = ledger.array('query gradient', Float32Array, arrays.query.length, shared)
    this.#dKey = new KeyRowResult(
      ledger.array('key gradient', Float32Array, arrays.key.length, shared),
      key,
      headSize,
      whole,
    )
    this.#dValue = new KeyRowResult(
      ledger.array('value gradient', Float32Array, arrays.value.length, shared),
      value,
      valueSize,
      whole,
    )
    this.#dBias = this.#biasResult(ledger, shared, whole)
    this.#slots = new GradientSlots({ array: this.#dQuery, strides: query, rows: queries, columns: headSize }, inSlices)
    this.placed = [...this.#cut(), ...this.#sharedBiasTasks(operands)]
  }

  /** Resolves when every slot that came back is added. */
  settled(): Promise<void> {
    return this.#slots.settled()
  }

  /** The gradients, when all tasks are done and settled. */
  gradients(): Omit<AttentionBackwardResult, 'report'> {
    this.#dBias?.finish()
    const {
      shapes,
      options: { alibiSlopes },
    } = this.call
    return {
      dQuery: { data: this.#dQuery, shape: shapes.query },
      dKey: { data: this.#dKey.data, shape: shapes.key },
      dValue: { data: this.#dValue.data, shape: shapes.value },
      ...this.#biasGradients(),
      ...(alibiSlopes === null ? {} : { dAlibiSlopes: this.#slopeGradients(alibiSlopes.length) }),
    }
  }

  #biasGradients(): Pick<AttentionBackwardResult, 'dBias' | 'dRelativeBias'> {
    const {
      options: { bias, queryOffset },
      layout: { sizes },
      biasShape,
    } = this.call
    if (this.#dBias === null || bias === null) return {}
    if (bias.table === null) return { dBias: { data: this.#dBias.data, shape: biasShape } }
    const data = foldRelativeBias(this.#dBias.data, bias.table, sizes, queryOffset)
    return { dRelativeBias: { data, shape: bias.table.shape } }
  }

  /** The call failed. */
  stop(): void {
    this.#slots.stop()
  }

  #biasResult(ledger: Ledger, shared: boolean, whole: ((array: Float32Array) => number) | null): BiasResult | null {
    const {
      options: { bias },
      biasGradient,
      layout: {
        sizes: { queries },
      },
    } = this.call
    if (bias === null || !biasGradient) return null
    const memory = { ledger, shared, sumBytes: this.#plan.bytes['bias sums'] ?? 0 }
    return new BiasResult(bias.strides, { rows: queries, elements: bias.data.length }, memory, whole)
  }

  #sharedBiasTasks(operands: Operands): PlacedTask[] {
    const { sharedBias, biasTasks } = this.#plan
    return this.#dBias === null || sharedBias === null || biasTasks === 0
      ? []
      : sharedBiasTasks(this.call, this.arrays, operands, this.#dBias, sharedBias)
  }

  /** The bias's gradient as heads' own tasks give it: not where they share it. */
  get #ownBias(): BiasResult | null {
    return this.#plan.sharedBias === null ? this.#dBias : null
  }

  /** Head after head, its segments in key order. */
  #cut(): PlacedTask[] {
    const {
      layout: { sizes },
      options: { settings, queryOffset, keyLength },
    } = this.call
    const see = { ...settings, queryOffset, keyLength }
    const placed: PlacedTask[] = []
    if (this.#plan.tasks === 0) return placed
    for (let batch = 0; batch < sizes.batch; batch++) {
      const segments = keySegments({ ...sizes, taskHeads: sizes.batch * sizes.keyValueHeads }, see, batch)
      const cost = visiblePairs(0, sizes.queries, batch, see) / segments.length
      for (let keyHead = 0; keyHead < sizes.keyValueHeads; keyHead++) {
        for (const [index, segment] of segments.entries())
          placed.push(this.#place({ batch, keyHead, index, segment }, cost))
      }
    }
    return placed
  }

  #place(place: TaskPlace, cost: number): PlacedTask {
    const { batch, keyHead, index, segment } = place
    const { keyValueHeads } = this.call.layout.sizes
    const task = this.#task(place)
    const heads = this.#headsOf(keyHead)
    const bias = heads.map((head) => this.#ownBias?.expect({ batch, head, segment }))
    const slopes = task.slopeGradient
      ? heads.map((head) => ({ head: batch * this.call.layout.sizes.heads + head, sum: 0 }))
      : []
    this.#slopes.push(...slopes)
    return {
      task,
      group: batch * keyValueHeads + keyHead,
      cost,
      stagingBytes: this.#stagingBytes(segment),
      take: (result) => {
        const gradients = result as TaskGradients
        this.#dKey.place(batch, keyHead, segment, gradients.dKey)
        this.#dValue.place(batch, keyHead, segment, gradients.dValue)
        if (gradients.dQuery !== undefined)
          this.#slots.take({
            batch,
            firstHead: heads[0] ?? 0,
            heads: heads.length,
            segment: index,
            data: gradients.dQuery,
          })
        const each = (gradients.dBias?.length ?? 0) / heads.length
        if (gradients.dBias !== undefined)
          bias.forEach((take, h) => take?.((gradients.dBias as Float32Array).subarray(h * each, (h + 1) * each)))
        slopes.forEach((slope, h) => (slope.sum = gradients.dAlibiSlopes?.[h] ?? 0))
      },
    }
  }

  #task({ batch, keyHead, segment }: TaskPlace): AttentionBackwardTask {
    const {
      layout: {
        sizes: { valueSize },
        value,
      },
      options: { alibiSlopes },
    } = this.call
    return {
      kind: 'attention-backward',
      ...this.#tasks.shared(batch, keyHead, segment),
      value: this.#tasks.keyRows(
        { array: this.arrays.value, strides: value, columns: valueSize },
        batch,
        keyHead,
        segment,
      ),
      heads: this.#headsOf(keyHead).map((head) => this.#head(batch, head, segment)),
      dKey: this.#dKey.destination(batch, keyHead, segment),
      dValue: this.#dValue.destination(batch, keyHead, segment),
      ...(this.#ownBias === null ? {} : { biasGradient: this.#ownBias.kind }),
      slopeGradient: alibiSlopes !== null,
    }
  }

  #head(batch: number, head: number, segment: KeySegment): BackwardHead {
    const {
      layout: {
        sizes: { valueSize },
        output,
      },
    } = this.call
    return {
      ...this.#tasks.scored(batch, head, segment),
      output: this.#tasks.headRows(
        'output',
        { array: this.arrays.output, strides: output, columns: valueSize },
        batch,
        head,
      ),
      dOutput: this.#tasks.headRows(
        'dOutput',
        { array: this.arrays.dOutput, strides: output, columns: valueSize },
        batch,
        head,
      ),
      dQuery: true,
      ...(this.#ownBias === null ? {} : { dBias: this.#ownBias.destination({ batch, head, segment }) }),
    }
  }

  /** Query heads that share a key head. */
  #headsOf(keyHead: number): number[] {
    const { heads, keyValueHeads } = this.call.layout.sizes
    const group = heads / keyValueHeads
    return Array.from({ length: group }, (_, index) => keyHead * group + index)
  }

  #stagingBytes({ keyStart, keyEnd }: KeySegment): number {
    return (keyEnd - keyStart) * this.#plan.keyBytes
  }

  /** In float64, in the order of the tasks. */
  #slopeGradients(length: number): Float32Array {
    const total = new Float64Array(length)
    for (const { head, sum } of this.#slopes) (total[head % length] as number) += sum
    return Float32Array.from(total)
  }
}
