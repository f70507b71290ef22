import { ACTIVATION_GELU, ACTIVATION_GELU_TANH, ACTIVATION_RELU } from '../../../assembly/abi.ts'
import { roundUp } from '../../core/integers.ts'
import { registerBytes, STAGE_TILE_ROWS, stageArenaBytes, stageArenaStart } from '../../plan/stage-arena.ts'
import { CONTEXT_ARRAY, type ResidentWeight, type RowStageResult, type RowStageTask, type RowStep } from '../../protocol/stage.ts'
import type { ArrayId, AttentionTask, AttentionTaskResult, TaskArray } from '../../protocol/task.ts'
import type { TaskContext } from '../backend.ts'
import { dropRows } from './row-dropout.ts'
import { ResidentWeights } from './resident-weights.ts'
import { embedTile, loadTile, multiplyTile, rotateTile, storeHeadsTile, storeTile, tileOf, type Tile } from './stage-tiles.ts'
import { StageMemory } from './stage-memory.ts'

/** The lane's own attention, for the first part of a stage. */
export type AttendTask = (task: AttentionTask, context: TaskContext) => Promise<AttentionTaskResult>

const ACTIVATIONS = { relu: ACTIVATION_RELU, gelu: ACTIVATION_GELU, 'gelu-tanh': ACTIVATION_GELU_TANH } as const

/** Where a stage's parts stand in the lane's memory. */
interface LaidOut {
  /** byte addresses */
  readonly registers: readonly number[]
  /** [rows, width] of attention's output */
  readonly attended: Float32Array
  readonly addresses: ReadonlyMap<ResidentWeight, number>
  /** byte address of what `linearRows` needs beside registers */
  readonly scratch: number
}

/**
 * Runs stages: attention of the chunk first, then all steps over `STAGE_TILE_ROWS` rows at a time, in registers that stay in
 * the processor's caches. Rows in place are written tile by tile; their arrays belong to a layer's pass and are seen by
 * nobody before the whole stage is done.
 */
export class RowStages {
  readonly #memory: StageMemory
  readonly #weights: ResidentWeights
  readonly #attend: AttendTask
  #registers = { address: 0, bytes: 0 }

  constructor(module: WebAssembly.Module, attend: AttendTask) {
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
    const returned = (task.attention?.returned ?? []).map(({ length, integers }) => (integers ? new Int32Array(length) : new Float32Array(length)))
    const arrays = (id: ArrayId): TaskArray => (id === CONTEXT_ARRAY ? attended : (returned[-1 - id] ?? context.array(id)))
    for (const head of task.attention?.tasks ?? []) await this.#attend(head, { array: arrays, pace: () => context.pace() })
    const stored = returnedArrays(task)
    for (let start = 0; start < task.rows; start += STAGE_TILE_ROWS) {
      const rows = Math.min(STAGE_TILE_ROWS, task.rows - start)
      const tile = tileOf({ task, start, rows, floats: this.#memory.floats, registers, arrays, stored })
      for (const step of task.steps) this.#runStep(step, tile, addresses, scratch)
      const turn = context.pace()
      if (turn !== undefined) await turn
    }
    return { stored: [...returned, ...stored.values()], elapsedMs: performance.now() - startMs }
  }

  /** Room for the stage. What the memory has already may hold weights of other models beyond the limit: it never shrinks. */
  #layOut(task: RowStageTask, arrays: (id: ArrayId) => TaskArray): LaidOut {
    const weights = weightsOf(task.steps)
    const limits = {
      weightBytes: Math.max(task.residentLimitBytes, this.#memory.bytes - stageArenaStart - task.registerBytes),
      memoryBytes: stageArenaBytes(task.registerBytes + task.residentLimitBytes),
    }
    const registers = this.#layOutRegisters(task, limits.memoryBytes)
    const addresses = this.#weights.addresses(weights, limits, (weight) => arrays(weight.array), this.#registers.address)
    const elements = task.attention === null ? 0 : task.rows * task.attention.width
    const attended = this.#memory.floats.subarray(registers.end >> 2, (registers.end >> 2) + elements)
    const scratch = registers.end + roundUp(elements * 4, 16)
    return { registers: registers.starts, attended, scratch, addresses: new Map(weights.map((weight, index) => [weight, addresses[index] ?? 0])) }
  }

  /** Addresses of the registers, one behind the other; behind them stand attention's output and scratch. */
  #layOutRegisters({ registers: widths, registerBytes: bytes }: RowStageTask, limitBytes: number): { starts: number[]; end: number } {
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

  #runStep(step: RowStep, tile: Tile, weights: ReadonlyMap<ResidentWeight, number>, scratch: number): void {
    const { kernels } = this.#memory
    const { rows, registers } = tile
    const at = (register: number): number => registers[register] ?? 0
    const elements = (register: number): number => rows * (tile.task.registers[register] ?? 0)
    const weightAt = (weight: ResidentWeight | null): number => (weight === null ? 0 : (weights.get(weight) ?? 0))
    switch (step.op) {
      case 'load':
        return loadTile(step, tile)
      case 'embed':
        return embedTile(step, tile)
      case 'linear':
        return kernels.linearRows(at(step.from), rows, step.weight.inSize, weightAt(step.weight), weightAt(step.bias), at(step.to), step.weight.outSize, scratch)
      case 'norm':
        return kernels.normRows(at(step.from), rows, step.weight.outSize, weightAt(step.weight), weightAt(step.bias), step.epsilon, at(step.to))
      case 'copy':
        return this.#memory.floats.copyWithin(at(step.to) >> 2, at(step.from) >> 2, (at(step.from) >> 2) + elements(step.from)), undefined
      case 'multiply':
        return multiplyTile(step, tile)
      case 'add':
        return kernels.addRows(at(step.from), elements(step.from), at(step.to))
      case 'activate':
        return kernels.activateRows(at(step.register), elements(step.register), ACTIVATIONS[step.activation])
      case 'drop':
        return dropRows(step, tile)
      case 'rotate':
        return rotateTile(step, tile)
      case 'store':
        return storeTile(step, tile)
      case 'store-heads':
        return storeHeadsTile(step, tile)
    }
  }
}

function weightsOf(steps: readonly RowStep[]): ResidentWeight[] {
  return steps.flatMap((step) => {
    if (step.op !== 'linear' && step.op !== 'norm') return []
    return step.bias === null ? [step.weight] : [step.weight, step.bias]
  })
}

/** Zeros for every step whose rows go back with the result. */
function returnedArrays(task: RowStageTask): Map<RowStep, Float32Array> {
  const returned = task.steps.filter((step) => (step.op === 'store' || step.op === 'store-heads') && step.to === 'returned')
  return new Map(returned.map((step) => [step, new Float32Array(task.rows * ('from' in step && typeof step.from === 'number' ? (task.registers[step.from] ?? 0) : 0))]))
}
