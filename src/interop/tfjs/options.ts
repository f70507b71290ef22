import type { Tensor as TfTensor } from '@tensorflow/tfjs-core'
import { checkShapes, type CheckedCall } from '../../attention/attention-call.ts'
import type { AttentionOptions } from '../../attention/attention-options.ts'
import { checkBroadcast } from '../../attention/broadcast.ts'
import { checkNames } from '../../core/check.ts'
import { OptionError } from '../../core/errors.ts'
import { WEIGHT_OPTIONS, type WeightOptions } from '../../attention/weight-options.ts'

/** The options of `attention` that mean something here; mask and bias are tfjs tensors. */
export interface TfAttentionOptions extends Omit<WeightOptions, 'mask' | 'bias'>, Pick<AttentionOptions, 'dropout'> {
  /** Nonzero (bool or int32) may attend; broadcasts to the scores. */
  readonly mask?: TfTensor
  /** Added to the scaled score, −∞ masks; broadcasts to the scores; has a gradient. */
  readonly bias?: TfTensor
}

const NAMES: readonly (keyof TfAttentionOptions)[] = [...WEIGHT_OPTIONS, 'dropout', 'heads', 'keyValueHeads']

/**
 * A call after all checks, in the one form that the rest works on: [B, H, M, D], [B, Hkv, N, D] and [B, Hkv, N, Dv].
 */
export interface TfCall extends CheckedCall {
  /** the options but heads, mask and bias, as `attention` takes them for rank 4 */
  readonly plain: AttentionOptions
}

/** @throws {OptionError} {ShapeError} as `attention` does */
export function checkTfCall(query: TfTensor, key: TfTensor, value: TfTensor, options: TfAttentionOptions): TfCall {
  options = checkNames('attention: options', options, NAMES)
  for (const [name, tensor] of Object.entries({ query, key, value })) {
    if (tensor.dtype !== 'float32')
      throw new OptionError(`attention: expected ${name} of type float32, got ${tensor.dtype}`)
  }
  const { mask, bias, heads, keyValueHeads, ...plain } = options
  const splitting = {
    ...(heads === undefined ? {} : { heads }),
    ...(keyValueHeads === undefined ? {} : { keyValueHeads }),
  }
  const call = checkShapes({ query: query.shape, key: key.shape, value: value.shape }, { ...plain, ...splitting })
  if (mask !== undefined) checkBroadcast('mask', mask.shape, call.layout)
  if (bias !== undefined) checkBroadcast('bias', bias.shape, call.layout)
  if (mask?.dtype === 'float32')
    throw new OptionError('attention: expected mask of type bool or int32, got float32 (a bias adds to the scores)')
  if (bias !== undefined && bias.dtype !== 'float32')
    throw new OptionError(`attention: expected bias of type float32, got ${bias.dtype}`)
  return { ...call, plain }
}
