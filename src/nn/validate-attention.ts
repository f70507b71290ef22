import type { AttentionInputs, AttentionResult } from '../attention/attention-options.ts'
import { defaultRuntime } from '../attention/default-runtime.ts'
import type { Runtime } from '../attention/runtime.ts'
import { checkNames } from '../core/check.ts'
import { formatShape, type Tensor } from '../core/tensor.ts'
import { seedWords, UniformStream, type Seed } from '../core/seed.ts'

/** One property of attention that was measured. */
export interface AttentionCheck {
  /** what is checked, such as "every row adds up to 1" */
  readonly name: string
  /** whether `measured` is within `limit` */
  readonly passed: boolean
  /** what was measured: the largest deviation, where it is a number */
  readonly measured: number
  /** what it may be at most */
  readonly limit: number
  /** the result in words */
  readonly detail: string
}

/** What `validateAttention` gives back. */
export interface AttentionValidation {
  /** whether every check passed */
  readonly passed: boolean
  /** one per property */
  readonly checks: readonly AttentionCheck[]
}

/** What `validateAttention` takes. */
export interface ValidateOptions {
  /** @default the runtime that `attention` shares */
  readonly runtime?: Runtime
  /** @default 0 */
  readonly seed?: Seed
}

/** The guide's example: batch 2, 4 tokens, head size 64. */
const [BATCH, TOKENS, SIZE] = [2, 4, 64]

/**
 * Measures on this machine that attention is what it should be: rows of weights sum to one, shapes, output = weights ·
 * V, the effect of 1/√D, permutation equivariance, chunked = standard, invariance to a shift of the logits, no leak
 * from the future under a causal mask, and rows without any key.
 *
 * @example
 * ```js
 * import { validateAttention } from 'heddle/nn'
 *
 * const { passed, checks } = await validateAttention()
 * console.log(passed, checks.length) // true 9
 * ```
 */
export async function validateAttention(options: ValidateOptions = {}): Promise<AttentionValidation> {
  options = checkNames('validateAttention: options', options, ['runtime', 'seed'])
  const runtime = options.runtime ?? (await defaultRuntime())
  const stream = new UniformStream(seedWords('validateAttention: option seed', options.seed ?? 0))
  const inputs = { query: random(stream, TOKENS), key: random(stream, TOKENS), value: random(stream, TOKENS) }
  const full = await runtime.attention(inputs, { returnWeights: true, returnLogSumExp: true })
  const checks = [
    rowsSumToOne(full),
    shapes(full),
    manualProduct(full, inputs),
    await scalingEffect(runtime, inputs),
    await permutation(runtime, stream),
    await chunkedIsStandard(runtime, stream),
    await shiftInvariance(runtime),
    await causalLeak(runtime, stream),
    await maskedRows(runtime, inputs),
  ]
  return { passed: checks.every(({ passed }) => passed), checks }
}

function check(name: string, measured: number, limit: number, detail: string): AttentionCheck {
  return { name, passed: measured <= limit, measured, limit, detail }
}

function random(stream: UniformStream, rows: number): Tensor {
  // A sum of twelve uniforms is close to a normal number.
  const element = (): number => Array.from({ length: 12 }, () => stream.next()).reduce((sum, value) => sum + value, -6)
  return { data: Float32Array.from({ length: BATCH * rows * SIZE }, element), shape: [BATCH, rows, SIZE] }
}

function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Infinity
  let largest = 0
  for (let index = 0; index < a.length; index++) {
    const difference = Math.abs((a[index] ?? 0) - (b[index] ?? 0))
    if (!(difference <= largest)) largest = difference
  }
  return largest
}

function weightsOf(result: AttentionResult): Float32Array {
  return result.weights?.data ?? new Float32Array(0)
}

function rowsSumToOne(result: AttentionResult): AttentionCheck {
  const weights = weightsOf(result)
  const sums = Array.from({ length: BATCH * TOKENS }, (_, row) =>
    weights.subarray(row * TOKENS, (row + 1) * TOKENS).reduce((sum, weight) => sum + weight, 0),
  )
  return check(
    'rows of weights sum to one',
    largestDifference(
      sums,
      sums.map(() => 1),
    ),
    1e-6,
    `${sums.length} rows`,
  )
}

function shapes({ output, weights }: AttentionResult): AttentionCheck {
  const found = `output ${formatShape(output.shape)}, weights ${formatShape(weights?.shape ?? [])}`
  const expected = `output ${formatShape([BATCH, TOKENS, SIZE])}, weights ${formatShape([BATCH, TOKENS, TOKENS])}`
  return check('shapes', found === expected ? 0 : 1, 0, found)
}

function manualProduct(result: AttentionResult, { value }: AttentionInputs): AttentionCheck {
  const weights = weightsOf(result)
  const product = Float64Array.from({ length: BATCH * TOKENS * SIZE }, (_, index) => {
    const [row, column] = [Math.floor(index / SIZE), index % SIZE]
    const batch = Math.floor(row / TOKENS)
    let sum = 0
    for (let key = 0; key < TOKENS; key++)
      sum += (weights[row * TOKENS + key] ?? 0) * (value.data[(batch * TOKENS + key) * SIZE + column] ?? 0)
    return sum
  })
  return check(
    'output = weights · V',
    largestDifference(result.output.data, product),
    2e-6,
    'against a product in float64',
  )
}

/** Scores come back out of what a real run returns: ln(weight) + log-sum-exp. */
async function scalingEffect(runtime: Runtime, inputs: AttentionInputs): Promise<AttentionCheck> {
  const deviation = async (scale: number): Promise<number> => {
    const result = await runtime.attention(inputs, { scale, returnWeights: true, returnLogSumExp: true })
    const logSumExp = result.logSumExp?.data ?? []
    const scores = Array.from(
      weightsOf(result),
      (weight, index) => Math.log(weight) + (logSumExp[Math.floor(index / TOKENS)] ?? 0),
    )
    const mean = scores.reduce((sum, score) => sum + score, 0) / scores.length
    return Math.sqrt(scores.reduce((sum, score) => sum + (score - mean) ** 2, 0) / scores.length)
  }
  const [before, after] = [await deviation(1), await deviation(1 / Math.sqrt(SIZE))]
  const detail = `standard deviation of the scores ${before.toFixed(3)} before, ${after.toFixed(3)} after; ratio ${(after / before).toFixed(5)}, 1/√${SIZE} = ${(1 / Math.sqrt(SIZE)).toFixed(5)}`
  return check('scaling divides the scores by √D', Math.abs((after / before) * Math.sqrt(SIZE) - 1), 1e-4, detail)
}

async function permutation(runtime: Runtime, stream: UniformStream): Promise<AttentionCheck> {
  const rows = 37
  const x = random(stream, rows)
  const order = Array.from({ length: rows }, (_, row) => (row * 8) % rows)
  const permute = (data: Float32Array): Float32Array => {
    const moved = new Float32Array(data.length)
    for (let b = 0; b < BATCH; b++)
      order.forEach((from, to) =>
        moved.set(data.subarray((b * rows + from) * SIZE, (b * rows + from + 1) * SIZE), (b * rows + to) * SIZE),
      )
    return moved
  }
  const y: Tensor = { data: permute(x.data), shape: x.shape }
  const straight = await runtime.attention({ query: x, key: x, value: x })
  const permuted = await runtime.attention({ query: y, key: y, value: y })
  return check(
    'permutation equivariance',
    largestDifference(permuted.output.data, permute(straight.output.data)),
    5e-6,
    `${rows} tokens in another order`,
  )
}

async function chunkedIsStandard(runtime: Runtime, stream: UniformStream): Promise<AttentionCheck> {
  const rows = 301
  const inputs = { query: random(stream, rows), key: random(stream, rows), value: random(stream, rows) }
  const standard = await runtime.attention(inputs, { mode: 'standard' })
  const differences: number[] = []
  for (const chunkSize of [1, 7, 64, 1024])
    differences.push(
      largestDifference(
        (await runtime.attention(inputs, { mode: 'chunked', chunkSize })).output.data,
        standard.output.data,
      ),
    )
  return check('chunked = standard', Math.max(...differences), 2e-6, `${rows} tokens, chunks of 1, 7, 64 and 1024 rows`)
}

/** Scores are small integers, so that adding ±10⁴ is exact and only the softmax is tested. */
async function shiftInvariance(runtime: Runtime): Promise<AttentionCheck> {
  const integers = (step: number): Tensor => ({
    data: Float32Array.from({ length: BATCH * TOKENS * SIZE }, (_, index) =>
      index % SIZE < 2 ? ((index * step) % 5) - 2 : 0,
    ),
    shape: [BATCH, TOKENS, SIZE],
  })
  const inputs = { query: integers(7), key: integers(11), value: integers(13) }
  const shifted = async (shift: number): Promise<AttentionResult> => {
    const bias = { data: new Float32Array(TOKENS * TOKENS).fill(shift), shape: [TOKENS, TOKENS] }
    return runtime.attention(inputs, { scale: 1, bias, returnWeights: true })
  }
  const plain = weightsOf(await shifted(0))
  const differences = [weightsOf(await shifted(1e4)), weightsOf(await shifted(-1e4))].map((weights) =>
    largestDifference(weights, plain),
  )
  return check(
    'softmax does not change when all logits shift',
    Math.max(...differences),
    1e-6,
    'logits + 10,000 and − 10,000',
  )
}

async function causalLeak(runtime: Runtime, stream: UniformStream): Promise<AttentionCheck> {
  const rows = 130
  const x = random(stream, rows)
  const changedFrom = 97
  const y: Tensor = {
    data: x.data.map((value, index) => (Math.floor(index / SIZE) % rows >= changedFrom ? -value : value)),
    shape: x.shape,
  }
  const [before, after] = [
    await runtime.attention({ query: x, key: x, value: x }, { causal: true }),
    await runtime.attention({ query: y, key: y, value: y }, { causal: true }),
  ]
  const past = (result: AttentionResult): number[] =>
    [...result.output.data].filter((_, index) => Math.floor(index / SIZE) % rows < changedFrom)
  const later = largestDifference(after.output.data, before.output.data)
  const leak = later > 0 ? largestDifference(past(after), past(before)) : NaN
  return check(
    'no leak from the future',
    leak,
    0,
    `tokens from ${changedFrom} changed; rows before are the same to the bit`,
  )
}

async function maskedRows(runtime: Runtime, inputs: AttentionInputs): Promise<AttentionCheck> {
  const mask = {
    data: Uint8Array.from({ length: TOKENS * TOKENS }, (_, index) => (Math.floor(index / TOKENS) === 1 ? 0 : 1)),
    shape: [TOKENS, TOKENS],
  }
  const result = await runtime.attention(inputs, { mask, returnWeights: true, returnLogSumExp: true })
  const empty = Array.from({ length: BATCH }, (_, batch) => batch * TOKENS + 1)
  const zeros = empty.every(
    (row) =>
      weightsOf(result)
        .subarray(row * TOKENS, (row + 1) * TOKENS)
        .every((weight) => weight === 0) &&
      result.output.data.subarray(row * SIZE, (row + 1) * SIZE).every((value) => value === 0),
  )
  const infinite = empty.every((row) => result.logSumExp?.data[row] === -Infinity)
  return check('a row without any key is 0', zeros && infinite ? 0 : 1, 0, 'output and weights 0, log-sum-exp −∞')
}
