import type * as Tf from '@tensorflow/tfjs-core'
import { MAP_READ, USAGE } from '../../src/backends/webgpu/constants.ts'
import { createWebGpuBackend } from '../../src/backends/webgpu/engine.ts'
import type { GpuDevice } from '../../src/backends/webgpu/gpu-device.ts'
import { blockSizesOf } from '../../src/backends/webgpu/row-blocks.ts'
import { GpuHead } from '../../src/interop/tfjs/gpu-head.ts'
import type { AttentionTask } from '../../src/protocol/task.ts'
import { oneNodeModel } from '../kernels/onnx-model.ts'

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
export function residentHeddle(gpu: GpuDevice, shape: GpuCase, data: GpuData): GpuContender {
  const bytes = data.query.byteLength
  const upload = (array: Float32Array): GPUBuffer => gpu.upload('bench', array.byteLength, (mapped) => new Float32Array(mapped).set(array))
  const [query, key, value] = [upload(data.query), upload(data.key), upload(data.value)]
  const output = gpu.storage('bench-output', bytes)
  const { heads, tokens, headSize } = shape
  const sizes = { batch: 1, heads, keyValueHeads: heads, queries: tokens, keys: tokens, headSize, valueSize: headSize }
  const run = async (): Promise<void> => {
    for (let head = 0; head < heads; head++) {
      const task = headTask(shape, head)
      new GpuHead(gpu, task, sizes, { query, key, value, bias: null, output }, new Map()).run(0, head, blockSizesOf(gpu, task))
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
  return { name: 'heddle, on the device', run, read, dispose: () => gpu.free(query, key, value, output) }
}

/** As a lane runs it: chunks of rows go to the device and come back, keys and values stay. */
export async function laneHeddle(host: GPU | undefined, shape: GpuCase, data: GpuData, chunkRows: number): Promise<GpuContender> {
  const backend = await createWebGpuBackend(host)
  const { heads, tokens, headSize } = shape
  const output = new Float32Array(data.query.length)
  const arrays = [data.query, data.key, data.value, output]
  const context = { array: (id: number) => arrays[id] as Float32Array, pace: () => undefined }
  const run = async (): Promise<void> => {
    for (let head = 0; head < heads; head++) {
      const whole = headTask(shape, head)
      for (let row = 0; row < tokens; row += chunkRows) {
        const at = (array: number, first: number) => ({ array, offset: (head * tokens + first) * headSize, rowStride: headSize })
        const rows = Math.min(chunkRows, tokens - row)
        await backend.attention({ ...whole, rowStart: row, rows, query: at(0, row), key: at(1, 0), value: at(2, 0), output: at(3, row) }, context)
      }
    }
  }
  return { name: `heddle lane, ${chunkRows} rows a task`, run, read: () => Promise.resolve(output.slice()), dispose: () => backend.dispose() }
}

function headTask({ tokens, headSize, causal }: GpuCase, head: number): AttentionTask {
  const slice = { array: 0, offset: 0, rowStride: headSize }
  return {
    kind: 'attention', batchHead: head, rowStart: 0, rows: tokens, keyStart: 0, keyEnd: tokens, keyLength: tokens, queryOffset: 0, alibiSlope: 0,
    query: slice, key: slice, value: slice, output: true,
    settings: {
      keys: tokens, headSize, valueSize: headSize, scale: 1 / Math.sqrt(headSize), softcap: 0, causal,
      windowBefore: Infinity, windowAfter: Infinity, dropout: null, standard: false,
    },
  }
}

/** tfjs on its webgpu backend: matMul, softmax, matMul over the full matrix; it has no causal form of its own. */
export function tfjsMatrix(tf: typeof Tf, { heads, tokens, headSize }: GpuCase, data: GpuData): GpuContender {
  const shape: [number, number, number] = [heads, tokens, headSize]
  const [query, key, value] = [data.query, data.key, data.value].map((array) => tf.tensor3d(array, shape)) as [Tf.Tensor3D, Tf.Tensor3D, Tf.Tensor3D]
  const attend = (): Tf.Tensor => tf.tidy(() => tf.matMul(tf.softmax(tf.mul(tf.matMul(query, key, false, true), headSize ** -0.5)), value))
  const last = async (): Promise<Float32Array> => {
    const output = attend()
    const values = await output.data<'float32'>()
    output.dispose()
    return values
  }
  const device = (tf.backend() as unknown as { device: GPUDevice; ensureCommandEncoderReady(): void; endComputePassEncoder(): void; submitQueue(): void })
  const run = async (): Promise<void> => {
    const output = attend()
    device.ensureCommandEncoderReady()
    device.endComputePassEncoder()
    device.submitQueue()
    await device.device.queue.onSubmittedWorkDone()
    output.dispose()
  }
  return { name: 'tfjs-webgpu', run, read: last, dispose: () => tf.dispose([query, key, value]) }
}

/** onnxruntime's WebGPU provider: MultiHeadAttention, inputs and output on the device. @param url of its ort.webgpu.min.mjs */
export async function onnxruntimeGpu(url: string, { heads, tokens, headSize, causal }: GpuCase, data: GpuData): Promise<GpuContender> {
  const ort = (await import(/* @vite-ignore */ url)) as OnnxRuntime
  const size = heads * headSize
  const dims = [1, tokens, size]
  const inputs = { query: dims, key: dims, value: dims }
  const model = oneNodeModel({ operation: 'MultiHeadAttention', domain: 'com.microsoft', attributes: { num_heads: heads, ...(causal ? { unidirectional: 1 } : {}) }, inputs, output: dims })
  const session = await ort.InferenceSession.create(model, { executionProviders: ['webgpu'], preferredOutputLocation: 'gpu-buffer' })
  const device = ort.env.webgpu.device
  const buffers = [data.query, data.key, data.value].map((array) => {
    const buffer = device.createBuffer({ size: array.byteLength, usage: USAGE.storage | USAGE.copySource | USAGE.copyDestination, mappedAtCreation: true })
    new Float32Array(buffer.getMappedRange()).set(headsLast(array, heads, tokens, headSize))
    buffer.unmap()
    return buffer
  })
  const feeds = Object.fromEntries(['query', 'key', 'value'].map((name, at) => [name, ort.Tensor.fromGpuBuffer(buffers[at] as GPUBuffer, { dataType: 'float32', dims })]))
  const forward = async (): Promise<OnnxTensor> => (await session.run(feeds))['output'] as OnnxTensor
  return {
    name: 'onnxruntime-webgpu',
    run: async () => {
      const output = await forward()
      await device.queue.onSubmittedWorkDone()
      output.dispose()
    },
    read: async () => headsFirst(await (await forward()).getData(true), heads, tokens, headSize),
    dispose: () => buffers.forEach((buffer) => buffer.destroy()),
  }
}

interface OnnxTensor {
  getData(release: boolean): Promise<Float32Array>
  dispose(): void
}

interface OnnxRuntime {
  readonly env: { readonly webgpu: { readonly device: GPUDevice } }
  readonly Tensor: { fromGpuBuffer(buffer: GPUBuffer, options: object): unknown }
  readonly InferenceSession: { create(model: Uint8Array, options: object): Promise<{ run(feeds: object): Promise<Record<string, unknown>> }> }
}

function headsLast(data: Float32Array, heads: number, rows: number, width: number): Float32Array {
  return data.map((_, at) => data[(Math.floor(at / width) % heads) * rows * width + Math.floor(at / (heads * width)) * width + (at % width)] as number)
}

function headsFirst(data: Float32Array, heads: number, rows: number, width: number): Float32Array {
  const out = new Float32Array(data.length)
  for (let h = 0; h < heads; h++) for (let r = 0; r < rows; r++) out.set(data.subarray((r * heads + h) * width, (r * heads + h + 1) * width), (h * rows + r) * width)
  return out
}
