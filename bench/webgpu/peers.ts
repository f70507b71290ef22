import type * as Tf from '@tensorflow/tfjs-core'
import { USAGE } from '../../src/backends/webgpu/constants.ts'
import { headsFirst, headsLast } from '../kernels/heads.ts'
import { oneNodeModel } from '../onnx/one-node-model.ts'
import type { GpuCase, GpuContender, GpuData } from './contenders.ts'

/** tfjs on its webgpu backend: matMul, softmax, matMul over the full matrix; it has no causal form of its own. */
export function tfjsMatrix(tf: typeof Tf, { heads, tokens, headSize }: GpuCase, data: GpuData): GpuContender {
  const shape: [number, number, number] = [heads, tokens, headSize]
  const [query, key, value] = [data.query, data.key, data.value].map((array) => tf.tensor3d(array, shape)) as [
    Tf.Tensor3D,
    Tf.Tensor3D,
    Tf.Tensor3D,
  ]
  const attend = (): Tf.Tensor =>
    tf.tidy(() => tf.matMul(tf.softmax(tf.mul(tf.matMul(query, key, false, true), headSize ** -0.5)), value))
  const last = async (): Promise<Float32Array> => {
    const output = attend()
    const values = await output.data<'float32'>()
    output.dispose()
    return values
  }
  const device = tf.backend() as unknown as {
    device: GPUDevice
    ensureCommandEncoderReady(): void
    endComputePassEncoder(): void
    submitQueue(): void
  }
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

/**
 * onnxruntime's WebGPU provider: MultiHeadAttention, inputs and output on the device.
 *
 * @param url of its ort.webgpu.min.mjs
 */
export async function onnxruntimeGpu(
  url: string,
  { heads, tokens, headSize, causal }: GpuCase,
  data: GpuData,
): Promise<GpuContender> {
  await withholdSmallSubgroups()
  const ort = (await import(/* @vite-ignore */ url)) as OnnxRuntime
  const size = heads * headSize
  const dims = [1, tokens, size]
  const inputs = { query: dims, key: dims, value: dims }
  const model = oneNodeModel({
    operation: 'MultiHeadAttention',
    domain: 'com.microsoft',
    attributes: { num_heads: heads, ...(causal ? { unidirectional: 1 } : {}) },
    inputs,
    output: dims,
  })
  const session = await ort.InferenceSession.create(model, {
    executionProviders: ['webgpu'],
    preferredOutputLocation: 'gpu-buffer',
  })
  const device = ort.env.webgpu.device
  const buffers = [data.query, data.key, data.value].map((array) => {
    const buffer = device.createBuffer({
      size: array.byteLength,
      usage: USAGE.storage | USAGE.copySource | USAGE.copyDestination,
      mappedAtCreation: true,
    })
    new Float32Array(buffer.getMappedRange()).set(headsLast(array, heads, tokens, headSize))
    buffer.unmap()
    return buffer
  })
  const feeds = Object.fromEntries(
    ['query', 'key', 'value'].map((name, at) => [
      name,
      ort.Tensor.fromGpuBuffer(buffers[at] as GPUBuffer, { dataType: 'float32', dims }),
    ]),
  )
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

/** onnxruntime 1.30 takes subgroups for at least so large. */
const ONNXRUNTIME_SUBGROUP = 16

/**
 * onnxruntime's attention is wrong where subgroups are small (SwiftShader's have 4 invocations): with the feature it
 * skips keys, without it the same model is right within 1e-7. So on such adapters its device is made without.
 */
async function withholdSmallSubgroups(): Promise<void> {
  const adapter = await navigator.gpu.requestAdapter()
  const smallest = (adapter?.info as { subgroupMinSize?: number } | undefined)?.subgroupMinSize ?? ONNXRUNTIME_SUBGROUP
  if (smallest >= ONNXRUNTIME_SUBGROUP) return
  const { prototype } = GPUAdapter
  const requestDevice = Reflect.get<GPUAdapter, 'requestDevice'>(prototype, 'requestDevice')
  prototype.requestDevice = function (descriptor = {}) {
    const requiredFeatures = [...(descriptor.requiredFeatures ?? [])].filter(
      (feature) => !feature.startsWith('subgroup'),
    )
    return requestDevice.call(this, { ...descriptor, requiredFeatures })
  }
}

interface OnnxTensor {
  getData(release: boolean): Promise<Float32Array>
  dispose(): void
}

interface OnnxRuntime {
  readonly env: { readonly webgpu: { readonly device: GPUDevice } }
  readonly Tensor: { fromGpuBuffer(buffer: GPUBuffer, options: object): unknown }
  readonly InferenceSession: {
    create(model: Uint8Array, options: object): Promise<{ run(feeds: object): Promise<Record<string, unknown>> }>
  }
}

/** jax-js on its webgpu backend: `nn.dotProductAttention`. @param url of its bundle */
export async function jaxGpu(
  url: string,
  { heads, tokens, headSize, causal }: GpuCase,
  data: GpuData,
): Promise<GpuContender> {
  const { init, defaultDevice, numpy, nn, blockUntilReady } = (await import(/* @vite-ignore */ url)) as Jax
  if (!(await init('webgpu')).includes('webgpu')) throw new Error('its webgpu backend does not start here')
  defaultDevice('webgpu')
  const array = (values: Float32Array): JaxArray =>
    numpy.array(headsLast(values, heads, tokens, headSize)).reshape([1, tokens, heads, headSize])
  const [query, key, value] = [array(data.query), array(data.key), array(data.value)]
  const attend = (): JaxArray => nn.dotProductAttention(query.ref, key.ref, value.ref, { isCausal: causal })
  return {
    name: 'jax-js',
    run: async () => {
      const output = attend()
      await blockUntilReady(output.ref)
      output.dispose()
    },
    read: async () => headsFirst(await attend().data(), heads, tokens, headSize),
    dispose: () => [query, key, value].forEach((each) => each.dispose()),
  }
}

interface JaxArray {
  /** each use of an array consumes it, unless it is taken by reference */
  readonly ref: JaxArray
  reshape(shape: readonly number[]): JaxArray
  data(): Promise<Float32Array>
  dispose(): void
}

interface Jax {
  readonly init: (device: string) => Promise<string[]>
  readonly defaultDevice: (device: string) => void
  readonly blockUntilReady: (array: JaxArray) => Promise<unknown>
  readonly numpy: { array(values: Float32Array): JaxArray }
  readonly nn: {
    dotProductAttention(query: JaxArray, key: JaxArray, value: JaxArray, options: { isCausal: boolean }): JaxArray
  }
}
