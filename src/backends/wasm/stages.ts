import { roundUp } from '../../core/integers.ts'
import { registerBytes, STAGE_TILE_ROWS, stageArenaBytes, stageArenaStart } from '../../plan/stage-arena.ts'
import {
  CONTEXT_ARRAY,
  weightsOf,
  type ResidentWeight,
  type RowStageResult,
  type RowStageTask,
  type RowStep,
} from '../../protocol/stage.ts'
import type { SumResult, SumWork } from '../../protocol/sums.ts'
import type { ArrayId, AttentionTask, AttentionTaskResult, TaskArray } from '../../protocol/task.ts'
import type { TaskContext } from '../backend.ts'
import { ResidentWeights } from './resident-weights.ts'
import { runStep } from './row-steps.ts'
import { sumOuter, sumTable, sumTiles } from './slab-sums.ts'
import { StageMemory } from './stage-memory.ts'
import { tileOf } from './stage-tiles.ts'

/** The lane's own attention, for the first part of a stage. */
export type AttendTasks = (tasks: readonly AttentionTask[], context: TaskContext) => Promise<AttentionTaskResult[]>

/** Byte addresses of registers, and of what follows them. */
interface Registers {
  readonly starts: number[]
  readonly end: number
}

/** Where a stage's parts stand in the lane's memory. */
interface LaidOut {
  /** byte addresses */
  readonly registers: readonly number[]
  /** [rows, width] of attention's output */
  readonly attended: Float32Array
  readonly addresses: ReadonlyMap<ResidentWeight, number>
  /** byte address of what steps need beside registers */
  readonly scratch: number
}

/**
 * Runs stages: attention of the chunk first, then all steps over `STAGE_TILE_ROWS` rows at a time, in registers that
 * stay in the processor's caches. Rows in place are written tile by tile; their arrays belong to a layer's pass and are
 * seen by nobody before the whole stage is done.
 */
export class RowStages {
  readonly #memory: StageMemory
  readonly #weights: ResidentWeights
  readonly #attend: AttendTasks
  #registers = { address: 0, bytes: 0 }

  constructor(module: WebAssembly.Module, attend: AttendTasks) {
    this.#memory = new StageMemory(module)
    this.#weights = new ResidentWeights(this.#memory)
    this.#attend = attend
  }

  residentBytes(): number {
    return this.#memory.bytes
  }

  async run(task: RowStageTask, context: TaskContext): Promise<RowStageResult> {
    const startMs = performance.now()
    const { registers, attended, addresses, scratch } = this.#layOut(task, (id) => context.array(id))
    const returned = (task.attention?.returned ?? []).map(({ length, integers }) =>
      integers ? new Int32Array(length) : new Float32Array(length),
    )
    const arrays = (id: ArrayId): TaskArray =>
      id === CONTEXT_ARRAY ? attended : (returned[-1 - id] ?? context.array(id))
    await this.#attend(task.attention?.tasks ?? [], { array: arrays, pace: () => context.pace() })
    const stored = returnedArrays(task)
    for (let start = 0; start < task.rows; start += STAGE_TILE_ROWS) {
      const rows = Math.min(STAGE_TILE_ROWS, task.rows - start)
      const { kernels, floats } = this.#memory
      const addressOf = (weight: ResidentWeight): number => addresses.get(weight) ?? 0
      const tile = tileOf({ task, start, rows, kernels, floats, registers, scratch, addressOf, arrays, stored })
      for (const step of task.steps) runStep(step, tile)
      const turn = context.pace()
      if (turn !== undefined) await turn
    }
    return { stored: [...returned, ...stored.values()], elapsedMs: performance.now() - startMs }
  }

  /** One task's sums over the rows of a slab. */
  sum({ task, rows, scratchBytes }: SumWork, context: TaskContext): SumResult {
    const startMs = performance.now()
    const arrayOf = (id: ArrayId): TaskArray => context.array(id)
    if (task.op === 'outer') sumOuter(this.#memory, this.#scratchFor(scratchBytes), task, rows, arrayOf)
    else if (task.op === 'columns') sumTiles(task, rows, arrayOf)
    else sumTable(task, rows, arrayOf)
    return { elapsedMs: performance.now() - startMs }
  }

  /**
   * Room for the stage. What the memory has already may hold weights of other models beyond the limit: it never
   * shrinks.
   */
  #layOut(task: RowStageTask, arrays: (id: ArrayId) => TaskArray): LaidOut {
    const weights = weightsOf(task.steps)
    const weightBytes = Math.max(task.residentLimitBytes, this.#memory.bytes - stageArenaStart - task.registerBytes)
    const place = (memoryBytes: number): { registers: Registers; addresses: number[] | null } => {
      const registers = this.#layOutRegisters(task, memoryBytes)
      return {
        registers,
        addresses: this.#weights.addresses(
          weights,
          { weightBytes, memoryBytes },
          (weight) => arrays(weight.array),
          this.#registers.address,
        ),
      }
    }
    let { registers, addresses } = place(stageArenaBytes(task.registerBytes + task.residentLimitBytes))
    if (addresses === null) {
      this.#clear()
      ;({ registers, addresses } = place(Infinity))
    }
    const elements = task.attention === null ? 0 : task.rows * task.attention.width
    const attended = this.#memory.floats.subarray(registers.end >> 2, (registers.end >> 2) + elements)
    const scratch = registers.end + roundUp(elements * 4, 16)
    return {
      registers: registers.starts,
      attended,
      scratch,
      addresses: new Map(weights.map((weight, index) => [weight, addresses?.[index] ?? 0])),
    }
  }

  /** The address of the registers' room, which sums use between two stages. */
  #scratchFor(bytes: number): number {
    this.#layOutRegisters({ registers: [], registerBytes: bytes }, stageArenaBytes(bytes))
    return this.#registers.address
  }

  /** Addresses of the registers, one behind the other; behind them stand attention's output and scratch. */
  #layOutRegisters(
    { registers: widths, registerBytes: bytes }: Pick<RowStageTask, 'registers' | 'registerBytes'>,
    limitBytes: number,
  ): Registers {
    if (bytes !== this.#registers.bytes) {
      this.#memory.free(this.#registers.address)
      if (!this.#memory.hasRoom(bytes) && this.#memory.bytesGrownFor(bytes) > limitBytes) this.#weights.clear()
      this.#registers = { address: this.#memory.allocate(bytes), bytes }
    }
    let address = this.#registers.address
    const starts = widths.map((width) => {
      const own = address
      address += registerBytes([width])
      return own
    })
    return { starts, end: address }
  }

  /** Leaves the memory in one piece. */
  #clear(): void {
    this.#weights.clear()
    this.#memory.free(this.#registers.address)
    this.#registers = { address: 0, bytes: 0 }
  }
}

/** Zeros for every step whose rows go back with the result. */
function returnedArrays(task: RowStageTask): Map<RowStep, Float32Array> {
  const returned = task.steps.filter(
    (step) => (step.op === 'store' || step.op === 'store-heads') && step.to === 'returned',
  )
  return new Map(
    returned.map((step) => [
      step,
      new Float32Array(
        task.rows * ('from' in step && typeof step.from === 'number' ? (task.registers[step.from] ?? 0) : 0),
      ),
    ]),
  )
}
