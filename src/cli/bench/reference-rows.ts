/** One head's data: query [M, D], key [N, D], value [N, Dv], row-major. */
export interface HeadData {
  readonly query: Float32Array
  readonly key: Float32Array
  readonly value: Float32Array
  readonly headSize: number
  readonly valueSize: number
}

/**
 * softmax(q·Kᵀ / √D)·V of one query row in float64, by its definition: what a fast kernel is held against.
 *
 * @param keys how many keys the row may see, from the first on
 * @returns [Dv], float64
 */
export function referenceRow(
  { query, key, value, headSize, valueSize }: HeadData,
  row: number,
  keys: number,
): Float64Array {
  const scores = new Float64Array(keys)
  let largest = -Infinity
  for (let j = 0; j < keys; j++) {
    let dot = 0
    for (let d = 0; d < headSize; d++) dot += (query[row * headSize + d] ?? NaN) * (key[j * headSize + d] ?? NaN)
    scores[j] = dot / Math.sqrt(headSize)
    largest = Math.max(largest, scores[j] ?? NaN)
  }
  const output = new Float64Array(valueSize)
  let sum = 0
  for (let j = 0; j < keys; j++) {
    const weight = Math.exp((scores[j] ?? NaN) - largest)
    sum += weight
    for (let d = 0; d < valueSize; d++) output[d] = (output[d] ?? 0) + weight * (value[j * valueSize + d] ?? NaN)
  }
  return output.map((total) => total / sum)
}

/** The largest |a − b|; a NaN on either side is infinitely far. */
export function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let largest = a.length === b.length ? 0 : Infinity
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs((a[i] ?? NaN) - (b[i] ?? NaN))
    largest = Math.max(largest, Number.isNaN(difference) ? Infinity : difference)
  }
  return largest
}

/** Attention of one batch head by head: query, key, value and output [H, N, D], row-major. */
export interface HeadsData {
  readonly query: Float32Array
  readonly key: Float32Array
  readonly value: Float32Array
  readonly output: Float32Array
  readonly tokens: number
  readonly headSize: number
  readonly causal: boolean
}

/** The largest difference of some rows of the output from their float64 reference. */
export function worstDifference(
  { query, key, value, output, tokens, headSize, causal }: HeadsData,
  places: Iterable<{ readonly head: number; readonly row: number }>,
): number {
  let worst = 0
  for (const { head, row } of places) {
    const own = (data: Float32Array): Float32Array =>
      data.subarray(head * tokens * headSize, (head + 1) * tokens * headSize)
    const data = { query: own(query), key: own(key), value: own(value), headSize, valueSize: headSize }
    const found = own(output).subarray(row * headSize, (row + 1) * headSize)
    worst = Math.max(worst, largestDifference(found, referenceRow(data, row, causal ? row + 1 : tokens)))
  }
  return worst
}
