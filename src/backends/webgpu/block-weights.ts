import { bindings, type AttentionBlock } from './attention-block.ts'
import { MAP_READ, TILE } from './constants.ts'
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

/**
 * The weights of some rows of a block whose (m, l) are known: its scores once more, pass by pass.
 *
 * @param rows packed rows, as rows of the task
 * @param places their places in the block
 */
export async function blockWeights(
  resources: TaskResources,
  pacer: PassPacer,
  block: AttentionBlock,
  rows: RowSet,
  places: Uint32Array,
  matrixKeys: number,
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

interface PackedRows {
  readonly rows: RowSet
  readonly query: GPUBuffer
  readonly rowPlaces: GPUBuffer
}

/** Submits one pass; `read` hands its weights on once they are mapped. */
async function weightsPass(
  resources: TaskResources,
  pacer: PassPacer,
  block: AttentionBlock,
  { rows, query, rowPlaces }: PackedRows,
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
  return {
    read: async (sink) => {
      try {
        await gpu.race(staging.mapAsync(MAP_READ))
        sink(new Float32Array(staging.getMappedRange(0, byteLength)), stride, {
          first: pass.segmentStart + pass.start,
          count,
        })
      } finally {
        gpu.free(staging)
      }
    },
  }
}
