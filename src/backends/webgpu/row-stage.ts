import { roundUp } from '../../core/integers.ts'
import { CONTEXT_ARRAY, weightsOf, type RowStageResult, type RowStageTask, type RowStep } from '../../protocol/stage.ts'
import type { AttentionTask, AttentionTaskResult } from '../../protocol/task.ts'
import type { TaskContext } from '../backend.ts'
import { MAP_READ, TILE } from './constants.ts'
import { largestMagnitude } from './finite.ts'
import type { GpuDevice } from './gpu-device.ts'
import { unpackRows } from './pack-rows.ts'
import type { PassPacer } from './pass-pacer.ts'
import type { ResidentWeights } from './resident-weights.ts'
import { RowSteps } from './row-steps.ts'
import { NonFiniteInput } from './signals.ts'
import type { Turns } from './turns.ts'

type StoreStep = Extract<RowStep, { op: 'store' | 'store-heads' }>

/** Rows that a store put out: [rows, stride] dense, of rows [first, first + rows) of the chunk. */
interface StoredRows {
  readonly step: StoreStep
  readonly data: Float32Array
  readonly first: number
  readonly rows: number
}

export interface RowStageTools {
  readonly gpu: GpuDevice
  readonly pacer: PassPacer
  readonly weights: ResidentWeights
  readonly turns: Turns
  readonly attention: (task: AttentionTask, context: TaskContext) => Promise<AttentionTaskResult>
}

/**
 * A stage over its chunk: attention head by head, then the steps, a block of rows at a time. Stores are published at
 * the end.
 */
export async function runRowStage(
  tools: RowStageTools,
  task: RowStageTask,
  outer: TaskContext,
): Promise<RowStageResult> {
  const startMs = performance.now()
  const attended = new Float32Array(task.attention === null ? 0 : task.rows * task.attention.width)
  const context: TaskContext = {
    array: (id) => (id === CONTEXT_ARRAY ? attended : outer.array(id)),
    pace: () => outer.pace(),
  }
  for (const head of task.attention?.tasks ?? []) await tools.attention(head, context)
  const stored: StoredRows[] = []
  await tools.turns.exclusive(async () => {
    await tools.gpu.guarded('stage', async () => {
      for (let first = 0; first < task.rows;) {
        const rows = Math.min(task.rows - first, blockRows(tools, task))
        stored.push(...(await runBlock(tools, task, context, first, rows)))
        first += rows
        const turn = outer.pace()
        if (turn !== undefined) await turn
      }
    })
    tools.weights.trim(task.residentLimitBytes, weightsOf(task.steps))
  })
  return { stored: publish(task, stored, context), elapsedMs: performance.now() - startMs }
}

/** Rows whose steps take about one submit's time, in whole tiles, and whose registers fit the device's limits. */
function blockRows({ gpu, pacer }: RowStageTools, task: RowStageTask): number {
  const multiplyAdds = task.steps.reduce(
    (sum, step) => sum + (step.op === 'linear' ? step.weight.outSize * step.weight.inSize : 0),
    0,
  )
  const widest = Math.max(...task.registers.map((width) => roundUp(width, 4) * 4))
  const fitting = Math.min(gpu.largestBufferBytes / widest, gpu.limits.maxComputeWorkgroupsPerDimension)
  const timely = Math.max(TILE, Math.floor(pacer.multiplyAdds / Math.max(1, multiplyAdds) / TILE) * TILE)
  return Math.max(1, Math.floor(Math.min(fitting, timely)))
}

async function runBlock(
  tools: RowStageTools,
  task: RowStageTask,
  context: TaskContext,
  first: number,
  rows: number,
): Promise<StoredRows[]> {
  const { gpu, pacer, weights } = tools
  const encoder = gpu.device.createCommandEncoder({ label: 'heddle.stage' })
  const steps = new RowSteps({ gpu, weights, task, context }, encoder, { first, count: rows })
  const outs: { step: StoreStep; staging: GPUBuffer }[] = []
  try {
    let multiplyAdds = 0
    for (const step of task.steps) {
      if (step.op === 'linear') multiplyAdds += rows * step.weight.outSize * step.weight.inSize
      const staging = await steps.encode(step)
      if (staging !== undefined) outs.push({ step: step as StoreStep, staging })
    }
    await pacer.submit(gpu, encoder.finish(), multiplyAdds)
    await gpu.race(Promise.all(outs.map(({ staging }) => staging.mapAsync(MAP_READ))))
    return outs.map(({ step, staging }) => {
      const data = new Float32Array(staging.getMappedRange().slice(0))
      // Finite inputs whose products overflow: hardware may do anything with infinities, wasm does what IEEE says.
      if (largestMagnitude(data) === Infinity) throw new NonFiniteInput('a result of the stage')
      return { step, data, first, rows }
    })
  } finally {
    gpu.free(...steps.spent, ...outs.map(({ staging }) => staging))
  }
}

/** Writes what was stored to where it belongs; returns the dense arrays that go back with the answer, one a store. */
function publish(task: RowStageTask, stored: readonly StoredRows[], context: TaskContext): Float32Array[] {
  const returned: Float32Array[] = []
  for (const step of task.steps) {
    if (step.op !== 'store' && step.op !== 'store-heads') continue
    const width = task.registers[step.from] as number
    const heads = step.op === 'store-heads' ? step.heads : 1
    const headSize = width / heads
    const array = step.to === 'returned' ? new Float32Array(task.rows * width) : context.array(step.to.array)
    const layout =
      step.to === 'returned'
        ? { offset: 0, rowStride: headSize, headStride: task.rows * headSize }
        : { headStride: 0, ...step.to }
    if (step.to === 'returned') returned.push(array as Float32Array)
    for (const { data, first, rows } of stored.filter((entry) => entry.step === step)) {
      for (let head = 0; head < heads; head++) {
        const slice = { array: 0, offset: layout.offset + head * layout.headStride, rowStride: layout.rowStride }
        unpackRows(
          { data: data.subarray(head * headSize), stride: roundUp(width, 4) },
          array,
          slice,
          { first, count: rows },
          { first: 0, count: headSize },
        )
      }
    }
  }
  return returned
}
