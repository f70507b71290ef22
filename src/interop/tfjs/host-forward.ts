import { tensor4d, type Tensor4D } from '@tensorflow/tfjs-core'
import { attentionNow } from '../../attention/attention-now.ts'
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

/** On tfjs's cpu and wasm backends: our kernels, at once, on the calling thread. */
export function hostForward(inputs: ForwardInputs, call: TfCall): Tensor4D {
  const { mask, bias } = inputs
  const options: AttentionOptions = {
    ...call.plain,
    ...(mask === null ? {} : { mask: { data: maskBytes(mask.dataSync()), shape: mask.shape } }),
    ...(bias === null ? {} : { bias: hostTensor(bias) }),
  }
  const host: AttentionInputs = { query: hostTensor(inputs.query), key: hostTensor(inputs.key), value: hostTensor(inputs.value) }
  const output = attentionNow(host, options)
  return tensor4d(output.data, output.shape as [number, number, number, number])
}

/** bool comes as bytes, int32 as integers: any nonzero may attend. */
export function maskBytes(values: ArrayLike<number>): Uint8Array {
  return Uint8Array.from(values, (value) => (value === 0 ? 0 : 1))
}

function hostTensor(tensor: Tensor4D): HostTensor {
  return { data: tensor.dataSync<'float32'>(), shape: tensor.shape }
}
