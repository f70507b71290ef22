import {
  customGrad,
  getBackend,
  reshape,
  tensor as tfTensor,
  tidy,
  type GradSaveFunc,
  type Tensor,
  type Tensor3D,
  type Tensor4D,
} from '@tensorflow/tfjs-core'
import { attention as pooledAttention } from '../../attention/default-runtime.ts'
import type { AttentionOptions } from '../../attention/attention-options.ts'
import type { Tensor as HostTensor } from '../../core/tensor.ts'
import { gpuForward } from './gpu-forward.ts'
import { hostBackward, hostForward, maskBytes, type ForwardInputs } from './host-forward.ts'
import { checkTfCall, type TfAttentionOptions, type TfCall } from './options.ts'
import { inLayoutOf, inQueryLayout, overScores, withHeads } from './rank-four.ts'
import { recomputeGradients } from './recompute.ts'

/**
 * softmax(scale·QKᵀ + …)·V on tfjs tensors, at once, without the matrix of scores, with a gradient.
 *
 * On tfjs's webgpu backend the work is dispatched on its device and nothing is copied; values cannot be looked at
 * there, so NaN and infinities come out as the hardware has it; its gradient is recomputed by tfjs operations, whose
 * memory grows with M·N. On cpu and wasm our kernels compute both on the calling thread, in linear memory. Query, key,
 * value and bias have gradients.
 *
 * @param query [M, D], [B, M, D], [B, H, M, D], or with `heads` [B, M, E]; key and value likewise
 * @param key of the query's layout, with N rows
 * @param value of the key's layout and rows
 * @returns the query's layout with the value's last size; the caller's to dispose
 * @throws {ShapeError} {OptionError} as heddle's `attention` does
 *
 * @example
 * ```ts
 * import * as tf from '@tensorflow/tfjs-core'
 * import '@tensorflow/tfjs-backend-cpu'
 * import { attention } from 'heddle/tfjs'
 *
 * const x = tf.randomNormal([2, 100, 64]) as tf.Tensor3D
 * const output = attention(x, x, x, { heads: 4, causal: true })
 * const dX = tf.grad((y: tf.Tensor) => attention(y, y, y, { heads: 4 }))(x)
 * console.log(output.shape, dX.shape)
 * ```
 */
export function attention(query: Tensor, key: Tensor, value: Tensor, options: TfAttentionOptions = {}): Tensor {
  const call = checkTfCall(query, key, value, options)
  const { mask, bias } = options
  return tidy(() => {
    const run = customGrad((...parameters) => {
      const save = parameters.at(-1) as GradSaveFunc
      const given = parameters.slice(0, -1) as Tensor[]
      const kept = [...given, ...(mask === undefined ? [] : [mask])]
      const { value: result, saved } = forward(given, mask, call)
      save([...kept, ...saved])
      const gradFunc = (dOutput: Tensor, all: Tensor[]): Tensor[] =>
        backward(
          { given: all.slice(0, given.length), mask: mask && all[given.length], saved: all.slice(kept.length) },
          call,
          dOutput,
        )
      return { value: result, gradFunc }
    })
    return run(query, key, value, ...(bias === undefined ? [] : [bias]))
  })
}

/** Of a forward pass: its result, and what its gradient is made from beside the inputs. */
interface Forward {
  readonly value: Tensor
  /** output and log-sum-exp of rank 4 and 3; none where only tfjs can look at them */
  readonly saved: Tensor[]
}

/** @param given query, key, value, and the bias if there is one */
function forward(given: readonly Tensor[], mask: Tensor | undefined, call: TfCall): Forward {
  const inputs = rankFour(given, mask, call)
  if (getBackend() === 'webgpu') return { value: inQueryLayout(gpuForward(inputs, call), call), saved: [] }
  const { output, logSumExp } = hostForward(inputs, call)
  return { value: inQueryLayout(output, call), saved: [output, logSumExp] }
}

/** What the tape kept of a forward pass. */
interface Kept {
  readonly given: readonly Tensor[]
  readonly mask: Tensor | undefined
  readonly saved: readonly Tensor[]
}

/** The gradient of each of `given`, in its own shape. Needs no gradient of tfjs's own to be registered. */
function backward({ given, mask, saved }: Kept, call: TfCall, dOutput: Tensor): Tensor[] {
  const inputs = rankFour(given, mask, call)
  const dHeads = withHeads(dOutput, call, call.layout.sizes.heads)
  const [output, logSumExp] = saved as [Tensor4D, Tensor3D] | []
  const { query, key, value, bias } =
    output === undefined || logSumExp === undefined
      ? recomputeGradients(inputs, call, dHeads)
      : hostBackward(inputs, call, { output, logSumExp }, dHeads)
  const [q, k, v, b] = given as [Tensor, Tensor, Tensor, Tensor | undefined]
  return [
    inLayoutOf(q, query, call),
    inLayoutOf(k, key, call),
    inLayoutOf(v, value, call),
    ...(b === undefined || bias === null ? [] : [reshape(bias, b.shape)]),
  ]
}

/**
 * The same on heddle's pool of workers: the page stays free meanwhile. Without a gradient.
 *
 * @param query [M, D], [B, M, D], [B, H, M, D], or with `heads` [B, M, E]
 * @param key of the query's layout, with N rows
 * @param value of the key's layout and rows
 * @throws as heddle's `attention` does
 */
export async function attentionAsync(
  query: Tensor,
  key: Tensor,
  value: Tensor,
  options: TfAttentionOptions = {},
): Promise<Tensor> {
  checkTfCall(query, key, value, options)
  const { mask, bias, ...rest } = options
  const pooled: AttentionOptions = {
    ...rest,
    ...(mask === undefined ? {} : { mask: { data: maskBytes(await mask.data()), shape: mask.shape } }),
    ...(bias === undefined ? {} : { bias: await onHost(bias) }),
  }
  const [q, k, v] = await Promise.all([query, key, value].map(onHost))
  const { output } = await pooledAttention(
    { query: q as HostTensor, key: k as HostTensor, value: v as HostTensor },
    pooled,
  )
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
