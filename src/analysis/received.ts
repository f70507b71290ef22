import type { Tensor } from '../core/tensor.ts'
import type { AnalysisHost, AttentionCase } from './attention-case.ts'

/** Pᵀ·X of each query head, [B, H, N, C]. */
export async function transposed(
  { query, key, options }: AttentionCase,
  logSumExp: Float32Array,
  host: AnalysisHost,
  rows?: Tensor,
): Promise<Float32Array> {
  const { runtime, signal } = host
  const sums = { data: logSumExp, shape: query.shape.slice(0, -1) }
  const inputs = { query, key, logSumExp: sums, ...(rows === undefined ? {} : { rows }) }
  const { output } = await runtime.attentionTransposed(inputs, {
    ...options,
    ...(signal === undefined ? {} : { signal }),
  })
  host.called()
  return output.data
}
