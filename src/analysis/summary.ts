import type { AttentionStatistics } from '../attention/attention-options.ts'
import type { Tensor } from '../core/tensor.ts'
import { attend, type AnalysisHost, type AttentionCase } from './attention-case.ts'

/** What one call over all keys says. */
export interface Summary {
  /** [B, H, M] */
  readonly logSumExp: Float32Array
  readonly statistics: AttentionStatistics
  /** [B, H, M, buckets]: each row's mass on each bucket of keys; one column where none were asked for */
  readonly masses: Float32Array
  /** [B, H, rows, N], of the rows that were asked for */
  readonly weights: Float32Array
}

/** Where bucket `index` of `count` begins, of `size` positions: as even as whole positions allow. */
export function bucketStart(index: number, count: number, size: number): number {
  return Math.floor((index * size) / count)
}

/**
 * Log-sum-exp, statistics, bucket masses and chosen rows of weights from one call: with a column of ones for each
 * bucket of keys as values, its output is the mass on each bucket.
 *
 * @param buckets 0 for none
 * @param rows whose weights are wanted
 */
export async function summarise(
  attention: AttentionCase,
  host: AnalysisHost,
  buckets: number,
  rows: readonly number[],
): Promise<Summary> {
  const value = buckets === 0 ? undefined : bucketValues(attention, host, buckets)
  const selection = rows.length === 0 ? {} : { returnWeights: { rows } }
  const { logSumExp, statistics, output, weights } = await attend(
    attention,
    host,
    { returnStatistics: true, ...selection },
    value,
  )
  return {
    logSumExp: logSumExp.data,
    statistics: statistics as AttentionStatistics,
    masses: output.data,
    weights: weights?.data ?? new Float32Array(0),
  }
}

/** [B, Hkv, N, buckets]: 1 where a key is in a bucket. */
function bucketValues(
  { sizes: { batch, keyValueHeads, keys } }: AttentionCase,
  { runtime }: AnalysisHost,
  buckets: number,
): Tensor {
  const values = runtime.tensor([batch, keyValueHeads, keys, buckets])
  for (let bucket = 0; bucket < buckets; bucket++) {
    const end = bucketStart(bucket + 1, buckets, keys)
    for (let key = bucketStart(bucket, buckets, keys); key < end; key++) {
      for (let head = 0; head < batch * keyValueHeads; head++) values.data[(head * keys + key) * buckets + bucket] = 1
    }
  }
  return values
}
