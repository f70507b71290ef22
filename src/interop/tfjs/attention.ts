import { customGrad, getBackend, reshape, tensor as tfTensor, tidy, type GradSaveFunc, type Tensor } from '@tensorflow/tfjs-core'
import { attention as pooledAttention } from '../../attention/default-runtime.ts'
import type { AttentionOptions } from '../../attention/attention-options.ts'
import type { Tensor as HostTensor } from '../../core/tensor.ts'
import { gpuForward } from './gpu-forward.ts'
import { hostForward, maskBytes, type ForwardInputs } from './host-forward.ts'
import { checkTfCall, type TfAttentionOptions, type TfCall } from './options.ts'
import { inLayoutOf, inQueryLayout, overScores, withHeads } from './rank-four.ts'
import { recomputeGradients } from './recompute.ts'

/**
 * softmax(scale·QKᵀ + …)·V on tfjs tensors, at once, without the matrix of scores, with a gradient.
 *
 * On tfjs's webgpu backend the work is dispatched on its device and nothing is copied; values cannot be looked at there, so
 * NaN and infinities come out as the hardware has it. On cpu and wasm our kernels compute it on the calling thread. The
 * gradient, of query, key, value and bias, is recomputed by tfjs operations, whose memory grows with M·N.
 *
 * @param query [M, D], [B, M, D], [B, H, M, D], or with `heads` [B, M, E]; key and value likewise
 * @returns the query's layout with the value's last size; the caller's to dispose
 * @throws {ShapeError} {OptionError} as heddle's `attention` does
 */
export function attention(query: Tensor, key: Tensor, value: Tensor, options: TfAttentionOptions = {}): Tensor {
  const call = checkTfCall(query, key, value, options)
  const { mask, bias } = options
  return tidy(() => {
    const run = customGrad((...parameters) => {
      const save = parameters.at(-1) as GradSaveFunc
      const given = parameters.slice(0, -1) as Tensor[]
      save([...given, ...(mask === undefined ? [] : [mask])])
      const gradFunc = (dOutput: Tensor, saved: Tensor[]): Tensor[] => backward(saved.slice(0, given.length), mask && saved.at(-1), call, dOutput)
      return { value: forward(given, mask, call), gradFunc }
    })
    return run(query, key, value, ...(bias === undefined ? [] : [bias]))
  })
}

/** @param given query, key, value, and the bias if there is one */
function forward(given: readonly Tensor[], mask: Tensor | undefined, call: TfCall): Tensor {
  const inputs = rankFour(given, mask, call)
  return inQueryLayout(getBackend() === 'webgpu' ? gpuForward(inputs, call) : hostForward(inputs, call), call)
}

/** The gradient of each of `given`, in its own shape. Needs no gradient of tfjs's own to be registered. */
function backward(given: readonly Tensor[], mask: Tensor | undefined, call: TfCall, dOutput: Tensor): Tensor[] {
  const { query, key, value, bias } = recomputeGradients(rankFour(given, mask, call), call, withHeads(dOutput, call, call.layout.sizes.heads))
  const [q, k, v, b] = given as [Tensor, Tensor, Tensor, Tensor | undefined]
  return [
    inLayoutOf(q, query, call), inLayoutOf(k, key, call), inLayoutOf(v, value, call),
    ...(b === undefined || bias === null ? [] : [reshape(bias, b.shape)]),
  ]
}

/**
 * The same on heddle's pool of workers: the page stays free meanwhile. Without a gradient.
 *
 * @throws as heddle's `attention` does
 */
export async function attentionAsync(query: Tensor, key: Tensor, value: Tensor, options: TfAttentionOptions = {}): Promise<Tensor> {
  checkTfCall(query, key, value, options)
  const { mask, bias, ...rest } = options
  const pooled: AttentionOptions = {
    ...rest,
    ...(mask === undefined ? {} : { mask: { data: maskBytes(await mask.data()), shape: mask.shape } }),
    ...(bias === undefined ? {} : { bias: await onHost(bias) }),
  }
  const [q, k, v] = await Promise.all([query, key, value].map(onHost))
  const { output } = await pooledAttention({ query: q as HostTensor, key: k as HostTensor, value: v as HostTensor }, pooled)
  return tfTensor(output.data, [...output.shape])
}

function rankFour([query, key, value, bias]: readonly Tensor[], mask: Tensor | undefined, call: TfCall): ForwardInputs {
  const { heads, keyValueHeads } = call.layout.sizes
  return {
    query: withHeads(query as Tensor, call, heads),
    key: withHeads(key as Tensor, call, keyValueHeads),
    value: withHeads(value as Tensor, call, keyValueHeads),
    mask: mask === undefined ? null : overScores(mask, call),
    bias: bias === undefined ? null : overScores(bias, call),
  }
}

async function onHost(tensor: Tensor): Promise<HostTensor> {
  return { data: await tensor.data<'float32'>(), shape: tensor.shape }
}
