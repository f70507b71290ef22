import { add, matMul, reshape, tidy, type Tensor } from '@tensorflow/tfjs-core'
import { ShapeError } from '../../core/errors.ts'
import { formatShape } from '../../core/tensor.ts'
import { attention } from './attention.ts'
import type { TfAttentionOptions } from './options.ts'

/** A projection as tfjs layers hold it: kernel [in, out], bias [out]. */
export interface Projection {
  /** [in, out] */
  readonly kernel: Tensor
  /** [out]. @default none */
  readonly bias?: Tensor
}

/** What `multiHeadAttention` takes. */
export interface MultiHeadAttentionOptions extends Omit<TfAttentionOptions, 'heads'> {
  /** H, how many heads the projections have */
  readonly heads: number
  /** The four projections, as layers of tfjs hold them. */
  readonly projections: {
    /** of the input to queries */
    readonly query: Projection
    /** of the input to keys */
    readonly key: Projection
    /** of the input to values */
    readonly value: Projection
    /** of the joined heads to the output */
    readonly output: Projection
  }
}

/**
 * Concat(head₁ … head_H)·Wo + bo with headᵢ = attention(X·Wq, Y·Wk, Y·Wv), each product plus its bias; the gradient
 * reaches the inputs and all projections.
 *
 * @param query X [B, M, E]
 * @param source Y [B, N, E]; the query for self-attention
 * @returns [B, M, out]
 * @throws {ShapeError} when a tensor does not fit
 */
export function multiHeadAttention(query: Tensor, source: Tensor, options: MultiHeadAttentionOptions): Tensor {
  const { projections, ...rest } = options
  return tidy(() => {
    const q = project('query', query, projections.query)
    const k = project('key', source, projections.key)
    const v = project('value', source, projections.value)
    return project('output', attention(q, k, v, rest), projections.output)
  })
}

/** X·W + b over the last axis of [B, N, in]. */
function project(name: string, input: Tensor, { kernel, bias }: Projection): Tensor {
  const [batch = 0, rows = 0, size] = input.shape
  if (input.rank !== 3)
    throw new ShapeError(
      `multiHeadAttention: expected ${name} input of rank 3 [B, N, E], got ${formatShape(input.shape)}`,
    )
  if (kernel.rank !== 2 || kernel.shape[0] !== size) {
    throw new ShapeError(`multiHeadAttention: expected ${name} kernel [${size}, out], got ${formatShape(kernel.shape)}`)
  }
  const out = kernel.shape[1] as number
  const product = matMul(reshape(input, [batch * rows, size]), kernel)
  return reshape(bias === undefined ? product : add(product, bias), [batch, rows, out])
}
