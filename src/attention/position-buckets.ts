import { checkBoolean, checkInteger, checkNames, expected } from '../core/check.ts'
import { exactLog } from '../core/elementary.ts'
import { ShapeError } from '../core/errors.ts'
import { formatShape, readTensor, type Tensor } from '../core/tensor.ts'

/** How T5 puts distances into buckets (Raffel et al. 2020, and the configs of its published models). */
export interface BucketOptions {
  /** Encoders: keys before and behind a query have buckets of their own. false: all keys behind it share bucket 0. */
  readonly bidirectional: boolean
  /** The distance from which on all keys share the last bucket. @default 128 */
  readonly maxDistance?: number
}

/**
 * The bucket of every distance j − i of key and query from −maxDistance to maxDistance. Half of a direction's buckets
 * are for single distances; the others grow with the logarithm of the distance.
 *
 * @param buckets how many there are, of both directions
 * @throws {OptionError} for too few buckets, or a maximal distance within the single ones
 */
export function positionBuckets(buckets: number, options: BucketOptions): Int32Array {
  const { bidirectional, maxDistance = 128 } = checkNames('position buckets: options', options, [
    'bidirectional',
    'maxDistance',
  ])
  checkBoolean('position buckets: option bidirectional', bidirectional)
  checkInteger('position buckets: buckets', buckets, bidirectional ? 4 : 2)
  const each = bidirectional ? Math.floor(buckets / 2) : buckets
  const single = Math.floor(each / 2)
  checkInteger('position buckets: option maxDistance', maxDistance, single + 1, 2 ** 24)
  return Int32Array.from({ length: 2 * maxDistance + 1 }, (_, at) => {
    const distance = at - maxDistance
    if (bidirectional) return (distance > 0 ? each : 0) + bucketOf(Math.abs(distance), single, each, maxDistance)
    return bucketOf(Math.max(0, -distance), single, each, maxDistance)
  })
}

/** In float32, as PyTorch computes it: some boundaries depend on the rounding. */
function bucketOf(distance: number, single: number, each: number, maxDistance: number): number {
  if (distance < single) return distance
  const { fround } = Math
  const share = fround(fround(exactLog(fround(distance / single))) / fround(exactLog(maxDistance / single)))
  return Math.min(each - 1, single + Math.trunc(fround(share * (each - single))))
}

/**
 * T5's table as the option `relativeBias` [H, 2·maxDistance + 1].
 *
 * @param table [buckets, H]
 * @throws {ShapeError} for another shape; {OptionError} as `positionBuckets` does
 */
export function bucketedRelativeBias(table: Tensor, options: BucketOptions): Tensor {
  const { data, shape } = readTensor('bucketedRelativeBias: table', Float32Array, table)
  const [buckets = 0, heads = 0] = shape
  if (shape.length !== 2 || heads < 1)
    throw new ShapeError(`bucketedRelativeBias: table: expected [buckets, H], got ${formatShape(shape)}`)
  const bucketAt = positionBuckets(buckets, options)
  const width = bucketAt.length
  const bias = Float32Array.from({ length: heads * width }, (_, at) => {
    const head = Math.floor(at / width)
    return data[(bucketAt[at % width] ?? 0) * heads + head] ?? 0
  })
  return { data: bias, shape: [heads, width] }
}

/**
 * The gradient of T5's table [buckets, H], summed in float64.
 *
 * @param dRelativeBias [H, 2·maxDistance + 1]
 * @param buckets how many rows the table has
 * @throws {OptionError} as `positionBuckets` does, or for a gradient of another width
 */
export function bucketTableGradient(dRelativeBias: Tensor, buckets: number, options: BucketOptions): Tensor {
  const { data, shape } = readTensor('bucketTableGradient: dRelativeBias', Float32Array, dRelativeBias)
  const bucketAt = positionBuckets(buckets, options)
  const [heads = 0, width = 0] = shape
  if (shape.length !== 2 || width !== bucketAt.length)
    throw expected('bucketTableGradient: dRelativeBias', `[H, ${bucketAt.length}]`, shape)
  const sums = new Float64Array(buckets * heads)
  data.forEach((value, at) => {
    const place = (bucketAt[at % width] ?? 0) * heads + Math.floor(at / width)
    sums[place] = (sums[place] ?? 0) + value
  })
  return { data: Float32Array.from(sums), shape: [buckets, heads] }
}
