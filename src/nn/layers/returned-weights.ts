import type { WeightSelection } from '../../attention/attention-options.ts'
import type { Tensor } from '../../core/tensor.ts'

/** [B, H, M, N] */
type WeightShape = readonly [batch: number, heads: number, rows: number, keys: number]

/**
 * Chosen weights as the caller asked for them, repetitions included.
 *
 * @param data [B, distinct heads, distinct rows, N], both ascending
 * @param shape of all weights
 */
export function inCallerOrder(
  data: Float32Array,
  [batch, heads, rows, keys]: WeightShape,
  wanted: WeightSelection,
): Tensor {
  const headList = wanted.heads === undefined ? Array.from({ length: heads }, (_, head) => head) : [...wanted.heads]
  const rowList = wanted.rows === undefined ? Array.from({ length: rows }, (_, row) => row) : [...wanted.rows]
  const [headPlaces, rowPlaces] = [placesOf(headList), placesOf(rowList)]
  const shape = [batch, headList.length, rowList.length, keys]
  if (isIdentity(headList, headPlaces) && isIdentity(rowList, rowPlaces)) return { data, shape }
  const ordered = new Float32Array(batch * headList.length * rowList.length * keys)
  let to = 0
  for (let b = 0; b < batch; b++) {
    for (const head of headList) {
      for (const row of rowList) {
        const from =
          ((b * headPlaces.size + (headPlaces.get(head) ?? 0)) * rowPlaces.size + (rowPlaces.get(row) ?? 0)) * keys
        ordered.set(data.subarray(from, from + keys), to)
        to += keys
      }
    }
  }
  return { data: ordered, shape }
}

/** Each distinct index's place among them, ascending. */
function placesOf(list: readonly number[]): Map<number, number> {
  return new Map([...new Set(list)].sort((a, b) => a - b).map((index, place) => [index, place]))
}

function isIdentity(list: readonly number[], places: ReadonlyMap<number, number>): boolean {
  return list.length === places.size && list.every((index, place) => places.get(index) === place)
}

/** [B, H, M, N] to [B, M, N]. */
export function averageOverHeads({ data, shape }: Tensor): Tensor {
  const [batch = 0, heads = 0, rows = 0, keys = 0] = shape
  const mean = new Float32Array(batch * rows * keys)
  const elements = rows * keys
  for (let b = 0; b < batch; b++) {
    for (let element = 0; element < elements; element++) {
      let sum = 0
      for (let h = 0; h < heads; h++) sum += data[(b * heads + h) * elements + element] ?? 0
      mean[b * elements + element] = sum / heads
    }
  }
  return { data: mean, shape: [batch, rows, keys] }
}
