import { bindings, type AttentionBlock } from './attention-block.ts'
import { MAP_READ, TILE } from './constants.ts'
import type { GpuDevice } from './gpu-device.ts'
import { attentionWeightsKernel } from './kernels/attention-weights.wgsl.ts'
import type { RowSet } from './pack-rows.ts'
import type { PassPacer } from './pass-pacer.ts'
import {
  residentOf,
  scoreShapeOf,
  uploadParams,
  uploadQuery,
  uploadScoreInputs,
  type Pass,
  type TaskResources,
} from './score-inputs.ts'

/** Receives the weights of a block's packed rows over keys [first, first + count), `stride` elements a row. */
export type WeightsSink = (weights: Float32Array, stride: number, keys: { first: number; count: number }) => void

/** The rows of a block whose weights are wanted. */
export interface ChosenRows {
  /** as rows of the task */
  readonly rows: RowSet
  /** their places in the block */
  readonly places: Uint32Array
  /** keys of one pass at most */
  readonly matrixKeys: number
}

/** The weights of some rows of a block whose (m, l) are known: its scores once more, pass by pass. */
export async function blockWeights(
  resources: TaskResources,
  pacer: PassPacer,
  block: AttentionBlock,
  { rows, places, matrixKeys }: ChosenRows,
  sink: WeightsSink,
): Promise<void> {
  const { gpu, context } = resources
  const query = uploadQuery(resources, rows, () => undefined)
  const rowPlaces = gpu.upload('row-places', places.byteLength, (mapped) => new Uint32Array(mapped).set(places))
  const timelyKeys = (): number =>
    Math.floor(pacer.multiplyAdds / (rows.count * resources.task.settings.headSize) / TILE) * TILE
  let reading: Promise<void> | undefined
  try {
    for (const pass of block.passes(() => Math.min(matrixKeys, timelyKeys()))) {
      const next = await weightsPass(resources, pacer, block, { rows, query, rowPlaces }, pass)
      await reading
      reading = next.read(sink)
      reading.catch(() => undefined)
      const turn = context.pace()
      if (turn !== undefined) await turn
    }
    await reading
  } finally {
    gpu.free(query, rowPlaces)
  }
}

/** Rows that are on the device. */
interface UploadedRows {
  readonly rows: RowSet
  readonly query: GPUBuffer
  readonly rowPlaces: GPUBuffer
}

/** Submits one pass; `read` hands its weights on once they are mapped. */
async function weightsPass(
  resources: TaskResources,
  pacer: PassPacer,
  block: AttentionBlock,
  { rows, query, rowPlaces }: UploadedRows,
  pass: Pass,
): Promise<{ read(sink: WeightsSink): Promise<void> }> {
  const { gpu, task } = resources
  const key = residentOf(resources, task.key, task.settings.headSize, pass)
  const shape = scoreShapeOf(task, key.half)
  const pipeline = await gpu.pipeline(attentionWeightsKernel(shape))
  const count = pass.end - pass.start
  const stride = Math.ceil(count / 4) * 4
  const byteLength = rows.count * stride * 4
  const weights = gpu.storage('weights', byteLength)
  const staging = gpu.staging('weights-staging', byteLength)
  const spent = [weights, uploadParams(resources, block.first, rows.count, pass, { splitKeys: count, slot: 0 })]
  const entries = [
    ...bindings({ 0: spent[1] as GPUBuffer, 1: query, 2: key.buffer, 6: rowPlaces, 7: block.rowStates, 8: weights }),
    ...uploadScoreInputs(resources, rows, pass, spent),
  ]
  const encoder = gpu.device.createCommandEncoder({ label: 'heddle.attention-weights' })
  const compute = encoder.beginComputePass({ label: 'heddle.attention-weights' })
  compute.setPipeline(pipeline)
  compute.setBindGroup(0, gpu.device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }))
  compute.dispatchWorkgroups(Math.ceil(rows.count / TILE), Math.ceil(count / TILE))
  compute.end()
  encoder.copyBufferToBuffer(weights, 0, staging, 0, byteLength)
  await pacer.submit(gpu, encoder.finish(), rows.count * count * 4 * shape.headQuads)
  gpu.free(...spent)
  const keys = { first: pass.segmentStart + pass.start, count }
  return { read: (sink) => readWeights(gpu, { staging, byteLength }, (weights) => sink(weights, stride, keys)) }
}

/** Maps a staging buffer, hands it on, and frees it. */
async function readWeights(
  gpu: GpuDevice,
  { staging, byteLength }: { readonly staging: GPUBuffer; readonly byteLength: number },
  take: (weights: Float32Array) => void,
): Promise<void> {
  try {
    await gpu.race(staging.mapAsync(MAP_READ))
    take(new Float32Array(staging.getMappedRange(0, byteLength)))
  } finally {
    gpu.free(staging)
  }
}
