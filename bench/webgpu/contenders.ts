import { MAP_READ } from '../../src/backends/webgpu/constants.ts'
import { createWebGpuBackend } from '../../src/backends/webgpu/engine.ts'
import type { GpuDevice } from '../../src/backends/webgpu/gpu-device.ts'
import { blockSizesOf } from '../../src/backends/webgpu/row-blocks.ts'
import { GpuHead } from '../../src/interop/tfjs/gpu-head.ts'
import type { TileName } from '../../src/backends/webgpu/tile-choice.ts'
import type { AttentionTask } from '../../src/protocol/task.ts'
import { plainSettings } from '../kernels/plain-settings.ts'

/** Self-attention of H heads over n tokens. */
export interface GpuCase {
  readonly heads: number
  readonly tokens: number
  readonly headSize: number
  readonly causal: boolean
}

/** [H, n, D] each. */
export interface GpuData {
  readonly query: Float32Array
  readonly key: Float32Array
  readonly value: Float32Array
}

export interface GpuContender {
  readonly name: string
  /** One forward pass up to the device's idle; `read` also brings the result [H, n, D] back. */
  run(): Promise<void>
  read(): Promise<Float32Array>
  dispose(): void
}

/** Inputs and output stay on the device: kernels alone, to compare with peers that keep tensors there. */
export function residentHeddle(gpu: GpuDevice, shape: GpuCase, data: GpuData, tile: TileName): GpuContender {
  const bytes = data.query.byteLength
  const upload = (array: Float32Array): GPUBuffer =>
    gpu.upload('bench', array.byteLength, (mapped) => new Float32Array(mapped).set(array))
  const [query, key, value] = [upload(data.query), upload(data.key), upload(data.value)]
  const output = gpu.storage('bench-output', bytes)
  const { heads, tokens, headSize } = shape
  const sizes = { batch: 1, heads, keyValueHeads: heads, queries: tokens, keys: tokens, headSize, valueSize: headSize }
  const run = async (): Promise<void> => {
    for (let head = 0; head < heads; head++) {
      const task = headTask(shape, head)
      new GpuHead(
        gpu,
        { task, sizes, buffers: { query, key, value, bias: null, output }, arrays: new Map() },
        tile,
      ).run(0, head, blockSizesOf(gpu, task))
    }
    await gpu.device.queue.onSubmittedWorkDone()
  }
  const read = async (): Promise<Float32Array> => {
    const staging = gpu.staging('bench-staging', bytes)
    const encoder = gpu.device.createCommandEncoder()
    encoder.copyBufferToBuffer(output, 0, staging, 0, bytes)
    gpu.device.queue.submit([encoder.finish()])
    await staging.mapAsync(MAP_READ)
    const result = new Float32Array(staging.getMappedRange().slice(0, bytes))
    gpu.free(staging)
    return result
  }
  return { name: `heddle, on the device, ${tile}`, run, read, dispose: () => gpu.free(query, key, value, output) }
}

/** As a lane runs it: chunks of rows go to the device and come back, keys and values stay. */
export async function laneHeddle(
  host: GPU | undefined,
  shape: GpuCase,
  data: GpuData,
  chunkRows: number,
  storage: 'float32' | 'float16',
): Promise<GpuContender> {
  const backend = await createWebGpuBackend(host, { storage })
  const { heads, tokens, headSize } = shape
  const output = new Float32Array(data.query.length)
  const arrays = [data.query, data.key, data.value, output]
  const context = { array: (id: number) => arrays[id] as Float32Array, pace: () => undefined }
  // Two tasks at once, as the pool gives them to a lane.
  const run = async (): Promise<void> => {
    const queues = [Promise.resolve(), Promise.resolve()]
    for (let head = 0; head < heads; head++) {
      const whole = headTask(shape, head)
      for (let row = 0; row < tokens; row += chunkRows) {
        const at = (array: number, first: number) => ({
          array,
          offset: (head * tokens + first) * headSize,
          rowStride: headSize,
        })
        const rows = Math.min(chunkRows, tokens - row)
        const task = {
          ...whole,
          rowStart: row,
          rows,
          query: at(0, row),
          key: at(1, 0),
          value: at(2, 0),
          output: at(3, row),
        }
        queues.push(
          (queues.shift() as Promise<void>).then(() => backend.attention(task, context)).then(() => undefined),
        )
      }
    }
    await Promise.all(queues)
  }
  return {
    name: `heddle lane, ${storage}`,
    run,
    read: () => Promise.resolve(output.slice()),
    dispose: () => backend.dispose(),
  }
}

function headTask({ tokens, headSize, causal }: GpuCase, head: number): AttentionTask {
  const slice = { array: 0, offset: 0, rowStride: headSize }
  return {
    kind: 'attention',
    batchHead: head,
    rowStart: 0,
    rows: tokens,
    keyStart: 0,
    keyEnd: tokens,
    keyLength: tokens,
    queryOffset: 0,
    alibiSlope: 0,
    query: slice,
    key: slice,
    value: slice,
    output: true,
    settings: plainSettings(tokens, headSize, causal),
  }
}
