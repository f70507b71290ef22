import * as tf from '@tensorflow/tfjs-core'
import { ofBatch } from '../../plan/attention-sizes.ts'
import type { AttentionTask, TaskArray } from '../../protocol/task.ts'
import { GpuDevice } from '../../backends/webgpu/gpu-device.ts'
import { blockSizesOf } from '../../backends/webgpu/row-blocks.ts'
import { GpuHead, type HeadBuffers } from './gpu-head.ts'
import type { ForwardInputs } from './host-forward.ts'
import type { TfCall } from './options.ts'

/** The part of tfjs's WebGPUBackend that is used: its device, and the buffers behind its tensors. */
interface TfWebGpu {
  readonly device: GPUDevice
  readonly tensorMap: { get(dataId: object): { resource?: GPUBuffer } }
  uploadToGPU(dataId: object): void
  ensureCommandEncoderReady(): void
  endComputePassEncoder(): void
  submitQueue(): void
  makeTensorInfo(shape: number[], dtype: 'float32'): tf.TensorInfo
}

const SEGMENTS = { query: 1, key: 2 } as const
const devices = new WeakMap<GPUDevice, GpuDevice>()

/** On tfjs's webgpu backend: our kernels on its device, on its tensors' own buffers, in and out. */
export function gpuForward(inputs: ForwardInputs, call: TfCall): tf.Tensor4D {
  const { batch, heads, queries, keys, valueSize } = call.layout.sizes
  if (batch * heads * queries === 0 || keys === 0) return tf.zeros([batch, heads, queries, valueSize])
  const backend = tf.backend() as unknown as TfWebGpu
  const gpu = adopted(backend.device)
  const padded = {
    query: padColumns(inputs.query),
    key: padColumns(inputs.key),
    value: padColumns(inputs.value),
    bias: scoreBias(inputs, keys),
  }
  const bufferOf = (tensor: tf.TensorInfo): GPUBuffer => {
    backend.uploadToGPU(tensor.dataId)
    return backend.tensorMap.get(tensor.dataId).resource as GPUBuffer
  }
  const output = backend.makeTensorInfo([batch, heads, queries, Math.ceil(valueSize / 4) * 4], 'float32')
  const buffers: HeadBuffers = {
    query: bufferOf(padded.query),
    key: bufferOf(padded.key),
    value: bufferOf(padded.value),
    bias: padded.bias === null ? null : { buffer: bufferOf(padded.bias), shape: padded.bias.shape },
    output: bufferOf(output),
  }
  // What tfjs has recorded so far must run before what is submitted here.
  backend.ensureCommandEncoderReady()
  backend.endComputePassEncoder()
  backend.submitQueue()
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) {
      const task = headTask(call, b, h, padded.bias)
      new GpuHead(gpu, { task, sizes: call.layout.sizes, buffers, arrays: segmentArrays(call) }).run(
        b,
        h,
        blockSizesOf(gpu, task),
      )
    }
  }
  const dense = tf.engine().makeTensorFromTensorInfo(output) as tf.Tensor4D
  return valueSize % 4 === 0 ? dense : tf.slice(dense, [0, 0, 0, 0], [batch, heads, queries, valueSize])
}

function adopted(device: GPUDevice): GpuDevice {
  const known = devices.get(device) ?? GpuDevice.adopt(device)
  devices.set(device, known)
  return known
}

/** The last axis padded with zeros to whole vectors of four, as the kernels read rows. */
function padColumns(tensor: tf.Tensor4D): tf.Tensor4D {
  const missing = (4 - (tensor.shape[3] % 4)) % 4
  return missing === 0
    ? tensor
    : tf.pad(tensor, [
        [0, 0],
        [0, 0],
        [0, 0],
        [0, missing],
      ])
}

/** Mask and bias as one bias, −∞ where the mask forbids; keys written out and padded to vectors of four. */
function scoreBias({ mask, bias }: ForwardInputs, keys: number): tf.Tensor4D | null {
  if (mask === null && bias === null) return null
  const forbidden = tf.scalar(-Infinity)
  const both = mask === null ? (bias as tf.Tensor4D) : tf.where(tf.notEqual(mask, 0), bias ?? tf.scalar(0), forbidden)
  const [b, h, rows, columns] = both.shape as [number, number, number, number]
  return padColumns((columns === keys ? both : tf.broadcastTo(both, [b, h, rows, keys])) as tf.Tensor4D)
}

/** The head's work in the terms of a task; its tensors are bound by `GpuHead`, not attached. */
function headTask({ layout, options }: TfCall, b: number, h: number, bias: tf.Tensor4D | null): AttentionTask {
  const { heads, queries, keys, headSize, valueSize } = layout.sizes
  const bound = { array: 0, offset: 0, rowStride: 0 }
  return {
    kind: 'attention',
    settings: options.settings,
    batchHead: b * heads + h,
    rowStart: 0,
    rows: queries,
    keyStart: 0,
    keyEnd: keys,
    keyLength: ofBatch(options.keyLength, b),
    queryOffset: ofBatch(options.queryOffset, b),
    alibiSlope: options.alibiSlopes?.[(b * heads + h) % options.alibiSlopes.length] ?? 0,
    query: { ...bound, rowStride: headSize },
    key: { ...bound, rowStride: headSize },
    value: { ...bound, rowStride: valueSize },
    ...(bias === null ? {} : { bias: { ...bound, rowStride: bias.shape[2] === 1 ? 0 : keys } }),
    ...(options.segments === null
      ? {}
      : {
          querySegments: { array: SEGMENTS.query, offset: b * queries, rowStride: 1 },
          keySegments: { array: SEGMENTS.key, offset: b * keys, rowStride: 1 },
        }),
    output: true,
  }
}

function segmentArrays({ options }: TfCall): ReadonlyMap<number, TaskArray> {
  if (options.segments === null) return new Map()
  return new Map([
    [SEGMENTS.query, options.segments.query],
    [SEGMENTS.key, options.segments.key],
  ])
}
