import type { Tensor } from '../core/tensor.ts'
import { STATISTIC_NAMES } from '../protocol/row-results.ts'
import type { CheckedCall } from './attention-call.ts'
import type { AttentionJob } from './attention-job.ts'
import type { AttentionResult, AttentionStatistics } from './attention-options.ts'

/** The tensors that a call asked for, out of the arrays that its job filled. */
export function attentionResult({ layout, options }: CheckedCall, job: AttentionJob): Omit<AttentionResult, 'report'> {
  const tensorOf = <A extends Float32Array | Int32Array>(
    name: Parameters<typeof job.results.array>[0],
    shape: readonly number[],
  ): Tensor<A> => ({
    data: job.results.array(name) as A,
    shape,
  })
  const { rowShape } = layout
  const statistics = Object.fromEntries(STATISTIC_NAMES.map((name) => [name, tensorOf(name, rowShape)]))
  return {
    output: tensorOf('output', layout.outputShape),
    ...(options.logSumExp ? { logSumExp: tensorOf<Float32Array>('logSumExp', rowShape) } : {}),
    ...(options.weights === 'all' ? { weights: tensorOf<Float32Array>('weights', layout.scoreShape) } : {}),
    ...(job.selection === null ? {} : { weights: { data: job.selection.data, shape: job.selection.shape } }),
    ...(options.statistics ? { statistics: statistics as unknown as AttentionStatistics } : {}),
  }
}
