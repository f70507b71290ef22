import { reshape, transpose, type Tensor, type Tensor4D } from '@tensorflow/tfjs-core'
import type { TfCall } from './options.ts'

/** [N, D], [B, N, D] or, where the call splits heads, [B, N, E] as [B, heads, N, D]. */
export function withHeads(tensor: Tensor, { layout }: TfCall, heads: number): Tensor4D {
  const [a = 1, b = 1, c = 1] = tensor.shape
  if (tensor.rank === 4) return tensor as Tensor4D
  if (tensor.rank === 2) return reshape(tensor, [1, 1, a, b])
  if (!layout.splitsHeads) return reshape(tensor, [a, 1, b, c])
  return transpose(reshape(tensor, [layout.sizes.batch, b, heads, c / heads]), [0, 2, 1, 3])
}

/** The output [B, H, M, Dv] in the query's layout. */
export function inQueryLayout(output: Tensor4D, { layout }: TfCall): Tensor {
  return reshape(layout.splitsHeads ? transpose(output, [0, 2, 1, 3]) : output, [...layout.outputShape])
}

/** A gradient [B, heads, N, D] in the layout of the tensor that it belongs to. */
export function inLayoutOf(tensor: Tensor, gradient: Tensor4D, { layout }: TfCall): Tensor {
  return reshape(layout.splitsHeads ? transpose(gradient, [0, 2, 1, 3]) : gradient, tensor.shape)
}

/** A tensor that broadcasts to the scores as one of rank 4 that does: [B, H, M, N] with ones. */
export function overScores(tensor: Tensor, { layout }: TfCall): Tensor4D {
  const rank = layout.scoreShape.length
  const aligned = [...new Array<number>(rank - tensor.rank).fill(1), ...tensor.shape]
  if (rank === 4) return reshape(tensor, aligned as [number, number, number, number])
  const [rows = 1, keys = 1] = aligned.slice(-2)
  return reshape(tensor, [rank === 3 ? (aligned[0] ?? 1) : 1, 1, rows, keys])
}
