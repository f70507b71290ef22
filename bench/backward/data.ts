/** Self-attention of one batch: H heads of D over n tokens. Rows lie as [n, H, D]. */
export interface BackwardShape {
  readonly tokens: number
  readonly heads: number
  readonly headSize: number
  readonly causal?: boolean
}

export interface BackwardData {
  readonly query: Float32Array
  readonly key: Float32Array
  readonly value: Float32Array
  /** ∂loss/∂output */
  readonly dOutput: Float32Array
}

export interface Gradients {
  readonly dQuery: Float32Array
  readonly dKey: Float32Array
  readonly dValue: Float32Array
}

/** The same numbers for every contender, in [−1, 1). */
export function backwardData({ tokens, heads, headSize }: BackwardShape): BackwardData {
  let state = 1
  const fill = (): Float32Array =>
    Float32Array.from({ length: tokens * heads * headSize }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return state / 2147483648 - 1
    })
  return { query: fill(), key: fill(), value: fill(), dOutput: fill() }
}

/**
 * The worst difference from float64 over some rows of the last head: every gradient of three queries and three keys.
 */
export function worstOf(shape: BackwardShape, data: BackwardData, gradients: Gradients): number {
  const { tokens, heads, headSize } = shape
  const head = heads - 1
  const rowOf = (array: Float32Array, row: number): Float32Array =>
    array.subarray((row * heads + head) * headSize, (row * heads + head + 1) * headSize)
  const chosen = [0, tokens >> 1, tokens - 1]
  const zeros = (): Float64Array[] => chosen.map(() => new Float64Array(headSize))
  const expected = { dQuery: zeros(), dKey: zeros(), dValue: zeros() }
  for (let i = 0; i < tokens; i++) addRow(shape, (array, row) => rowOf(data[array], row), i, chosen, expected)
  let worst = 0
  for (const name of ['dQuery', 'dKey', 'dValue'] as const) {
    for (const [at, row] of chosen.entries()) {
      rowOf(gradients[name], row).forEach(
        (x, c) =>
          (worst = Math.max(worst, Number.isNaN(x) ? Infinity : Math.abs(x - (expected[name][at]?.[c] ?? NaN)))),
      )
    }
  }
  return worst
}

type RowOf = (array: keyof BackwardData, row: number) => Float32Array

/** What query row i gives to the gradients of the chosen rows. */
function addRow(
  shape: BackwardShape,
  rowOf: RowOf,
  i: number,
  chosen: readonly number[],
  into: Readonly<Record<keyof Gradients, Float64Array[]>>,
): void {
  const { tokens, headSize, causal = false } = shape
  const scale = 1 / Math.sqrt(headSize)
  const [query, dOutput] = [rowOf('query', i), rowOf('dOutput', i)]
  const keys = causal ? i + 1 : tokens
  const [weights, dWeights] = [new Float64Array(keys), new Float64Array(keys)]
  for (let j = 0; j < keys; j++) {
    weights[j] = scale * dot(query, rowOf('key', j))
    dWeights[j] = dot(dOutput, rowOf('value', j))
  }
  const largest = weights.reduce((a, b) => Math.max(a, b), -Infinity)
  let [sum, delta] = [0, 0]
  for (let j = 0; j < keys; j++) {
    const weight = Math.exp((weights[j] as number) - largest)
    weights[j] = weight
    sum += weight
    delta += weight * (dWeights[j] as number)
  }
  const dScore = (j: number): number => (scale * (weights[j] as number) * ((dWeights[j] as number) - delta / sum)) / sum
  chosen.forEach((row, at) => {
    if (row === i) for (let j = 0; j < keys; j++) add(into.dQuery[at], dScore(j), rowOf('key', j))
    if (row >= keys) return
    add(into.dKey[at], dScore(row), query)
    add(into.dValue[at], (weights[row] as number) / sum, dOutput)
  })
}

function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0
  for (let c = 0; c < a.length; c++) sum += (a[c] as number) * (b[c] as number)
  return sum
}

function add(to: Float64Array | undefined, factor: number, row: Float32Array): void {
  for (let c = 0; to !== undefined && c < row.length; c++) (to[c] as number) += factor * (row[c] as number)
}
