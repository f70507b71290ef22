import { ACTIVATION_GELU, ACTIVATION_GELU_TANH, ACTIVATION_RELU } from '../../../assembly/abi.ts'
import { registerBytes, STAGE_TILE_ROWS } from '../../plan/stage-arena.ts'
import { CONTEXT_ARRAY, type ResidentWeight, type RowStageResult, type RowStageTask, type RowStep } from '../../protocol/stage.ts'
import type { ArrayId, AttentionTask, AttentionTaskResult, TaskArray } from '../../protocol/task.ts'
import type { TaskContext } from '../backend.ts'
import { dropRows } from './row-dropout.ts'
import { ResidentWeights } from './resident-weights.ts'
import { embedTile, loadTile, rotateTile, storeHeadsTile, storeTile, type Tile } from './stage-tiles.ts'
import { StageMemory } from './stage-memory.ts'

/** The lane's own attention, for the first part of a stage. */
export type AttendTask = (task: AttentionTask, context: TaskContext) => Promise<AttentionTaskResult>

const ACTIVATIONS = { relu: ACTIVATION_RELU, gelu: ACTIVATION_GELU, 'gelu-tanh': ACTIVATION_GELU_TANH } as const

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
  #context = new Float32Array(0)

  constructor(module: WebAssembly.Module, attend: AttendTask) {
    this.#memory = new StageMemory(module)
    this.#weights = new ResidentWeights(this.#memory)
    this.#attend = attend
  }

  residentBytes(): number {
    return this.#memory.bytes + this.#context.byteLength
  }

  async run(task: RowStageTask, context: TaskContext): Promise<RowStageResult> {
    const startMs = performance.now()
    const arrays = (id: ArrayId): TaskArray => (id === CONTEXT_ARRAY ? this.#context : context.array(id))
    await this.#attendHeads(task, { array: arrays, pace: () => context.pace() })
    const weights = weightsOf(task.steps)
    this.#weights.makeRoom(weights, task.residentLimitBytes)
    const registers = this.#layOutRegisters(task)
    const addresses = new Map(weights.map((weight) => [weight, this.#weights.address(weight, arrays(weight.array), this.#registers.address)]))
    const stored = returnedArrays(task)
    for (let start = 0; start < task.rows; start += STAGE_TILE_ROWS) {
      const tile: Tile = {
        task,
        start,
        rows: Math.min(STAGE_TILE_ROWS, task.rows - start),
        floats: this.#memory.floats,
        registers,
        arrays,
        stored,
      }
      for (const step of task.steps) this.#runStep(step, tile, addresses)
      const turn = context.pace()
      if (turn !== undefined) await turn
    }
    return { stored: [...stored.values()], elapsedMs: performance.now() - startMs }
  }

  async #attendHeads({ attention, rows }: RowStageTask, context: TaskContext): Promise<void> {
    if (attention === null) return
    const elements = rows * attention.width
    if (this.#context.length < elements) this.#context = new Float32Array(elements)
    for (const task of attention.tasks) await this.#attend(task, context)
  }

  /** Addresses of the registers, one behind the other. */
  #layOutRegisters({ registers: widths, registerBytes: bytes }: RowStageTask): number[] {
    if (bytes > this.#registers.bytes) {
      this.#memory.free(this.#registers.address)
      this.#registers = { address: this.#memory.allocate(bytes), bytes }
    }
    let address = this.#registers.address
    return widths.map((width) => {
      const own = address
      address += registerBytes([width])
      return own
    })
  }

  #runStep(step: RowStep, tile: Tile, weights: ReadonlyMap<ResidentWeight, number>): void {
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
        return kernels.linearRows(at(step.from), rows, step.weight.inSize, weightAt(step.weight), weightAt(step.bias), at(step.to), step.weight.outSize)
      case 'norm':
        return kernels.normRows(at(step.from), rows, step.weight.outSize, weightAt(step.weight), weightAt(step.bias), step.epsilon, at(step.to))
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
