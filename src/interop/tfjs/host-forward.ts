import { tensor3d, tensor4d, type Tensor3D, type Tensor4D } from '@tensorflow/tfjs-core'
import { attentionBackwardNow, attentionNow } from '../../attention/attention-now.ts'
import type { AttentionInputs, AttentionOptions } from '../../attention/attention-options.ts'
import type { Tensor as HostTensor } from '../../core/tensor.ts'
import type { TfCall } from './options.ts'

/** What a forward pass takes: rank 4 all of them; mask and bias broadcast to [B, H, M, N]. */
export interface ForwardInputs {
  readonly query: Tensor4D
  readonly key: Tensor4D
  readonly value: Tensor4D
  readonly mask: Tensor4D | null
  readonly bias: Tensor4D | null
}

/** Of rank 4, like what they belong to. */
export interface Gradients {
  readonly query: Tensor4D
  readonly key: Tensor4D
  readonly value: Tensor4D
  /** of the bias's own shape; null without one */
  readonly bias: Tensor4D | null
}

/** What a forward pass gives: [B, H, M, Dv] and [B, H, M]. */
export interface HostOutput {
  readonly output: Tensor4D
  readonly logSumExp: Tensor3D
}

/** On tfjs's cpu and wasm backends: our kernels, at once, on the calling thread. */
export function hostForward(inputs: ForwardInputs, call: TfCall): HostOutput {
  const { output, logSumExp } = attentionNow(hostInputs(inputs), hostOptions(inputs, call))
  return {
    output: tensor4d(output.data, output.shape as [number, number, number, number]),
    logSumExp: tensor3d(logSumExp.data, logSumExp.shape as [number, number, number]),
  }
}

/** The gradients there, from what forward gave: no matrix of scores is made. */
export function hostBackward(
  inputs: ForwardInputs,
  call: TfCall,
  { output, logSumExp }: HostOutput,
  dOutput: Tensor4D,
): Gradients {
  const given = {
    ...hostInputs(inputs),
    output: hostTensor(output),
    logSumExp: hostTensor(logSumExp),
    dOutput: hostTensor(dOutput),
  }
  const { dQuery, dKey, dValue, dBias } = attentionBackwardNow(given, hostOptions(inputs, call))
  const tensor = ({ data, shape }: HostTensor): Tensor4D => tensor4d(data, shape as [number, number, number, number])
  return {
    query: tensor(dQuery),
    key: tensor(dKey),
    value: tensor(dValue),
    bias: dBias === undefined ? null : tensor(dBias),
  }
}

function hostInputs({ query, key, value }: ForwardInputs): AttentionInputs {
  return { query: hostTensor(query), key: hostTensor(key), value: hostTensor(value) }
}

function hostOptions({ mask, bias }: ForwardInputs, call: TfCall): AttentionOptions {
  return {
    ...call.plain,
    ...(mask === null ? {} : { mask: { data: maskBytes(mask.dataSync()), shape: mask.shape } }),
    ...(bias === null ? {} : { bias: hostTensor(bias) }),
  }
}

/** bool comes as bytes, int32 as integers: any nonzero may attend. */
export function maskBytes(values: ArrayLike<number>): Uint8Array {
  return Uint8Array.from(values, (value) => (value === 0 ? 0 : 1))
}

function hostTensor(tensor: Tensor4D | Tensor3D): HostTensor {
  return { data: tensor.dataSync<'float32'>(), shape: tensor.shape }
}
