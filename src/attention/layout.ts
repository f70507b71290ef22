import { OptionError, ShapeError } from '../core/errors.ts'
import { checkedProduct, isSize } from '../core/integers.ts'
import { checkShape, describe, formatShape } from '../core/tensor.ts'
import type { AttentionSizes } from '../plan/attention-sizes.ts'

/** Where row r of head h of batch b starts: `b·batch + h·head + r·row` (in elements); its columns follow each other. */
export interface Strides {
  readonly batch: number
  readonly head: number
  readonly row: number
}

/**
 * How the tensors of a call lie in memory, and the shapes of what comes out. S is the shape of the scores: [M, N], [B,
 * M, N] or [B, H, M, N].
 */
export interface Layout {
  readonly sizes: AttentionSizes
  readonly query: Strides
  readonly key: Strides
  readonly value: Strides
  readonly output: Strides
  /** whether option `heads` splits tensors [B, N, H·D] */
  readonly splitsHeads: boolean
  /** the query's layout with the value's last size */
  readonly outputShape: readonly number[]
  /** S */
  readonly scoreShape: readonly number[]
  /** S without N: log-sum-exp and statistics */
  readonly rowShape: readonly number[]
}

export interface InputShapes {
  readonly query: readonly number[]
  readonly key: readonly number[]
  readonly value: readonly number[]
}

interface Part {
  readonly batch: number
  readonly heads: number
  readonly rows: number
  readonly size: number
  readonly strides: Strides
}

/**
 * Reads [N, D], [B, N, D], [B, H, N, D], or, with `heads`, [B, N, E].
 *
 * @throws {ShapeError} when ranks, batches, heads or sizes do not fit each other
 * @throws {OptionError} when `heads` or `keyValueHeads` is no positive integer, or has no meaning for the rank
 */
export function resolveLayout(shapes: InputShapes, heads?: number, keyValueHeads?: number): Layout {
  for (const name of ['query', 'key', 'value'] as const) checkShape(`attention: ${name}`, shapes[name])
  checkHeads(shapes.query.length, heads, keyValueHeads)
  const rank = shapes.query.length
  if (rank < 2 || rank > 4) {
    throw new ShapeError(
      `attention: expected query of rank 2 [N, D], 3 [B, N, D] or 4 [B, H, N, D], got ${formatShape(shapes.query)}`,
    )
  }
  for (const name of ['key', 'value'] as const) {
    if (shapes[name].length === rank) continue
    throw new ShapeError(
      `attention: expected ${name} of rank ${rank} like query ${formatShape(shapes.query)}, got ${formatShape(shapes[name])}`,
    )
  }
  const query = readPart('query', shapes.query, heads)
  const key = readPart('key', shapes.key, heads === undefined ? undefined : (keyValueHeads ?? heads))
  const value = readPart('value', shapes.value, heads === undefined ? undefined : (keyValueHeads ?? heads))
  checkParts(shapes, query, key, value)
  const sizes: AttentionSizes = {
    batch: query.batch,
    heads: query.heads,
    keyValueHeads: key.heads,
    queries: query.rows,
    keys: key.rows,
    headSize: query.size,
    valueSize: value.size,
  }
  return {
    sizes,
    query: query.strides,
    key: key.strides,
    value: value.strides,
    splitsHeads: heads !== undefined,
    ...outputOf(sizes, rank, heads !== undefined),
  }
}

function checkHeads(rank: number, heads: number | undefined, keyValueHeads: number | undefined): void {
  for (const [name, value] of [
    ['heads', heads],
    ['keyValueHeads', keyValueHeads],
  ] as const) {
    if (value === undefined) continue
    if (!isSize(value) || value < 1)
      throw new OptionError(`attention: expected option ${name} to be an integer ≥ 1, got ${describe(value)}`)
    if (rank !== 3)
      throw new OptionError(
        `attention: option ${name} splits [B, N, E] tensors; expected query of rank 3, got rank ${rank}`,
      )
  }
  if (keyValueHeads !== undefined && heads === undefined) {
    throw new OptionError('attention: expected option heads with keyValueHeads, got keyValueHeads alone')
  }
}

function readPart(name: string, shape: readonly number[], heads: number | undefined): Part {
  checkedProduct(shape, `attention: ${name}`)
  const [a = 0, b = 0, c = 0, d = 0] = shape
  if (heads !== undefined) {
    if (c % heads !== 0)
      throw new ShapeError(
        `attention: expected ${name}'s last size to divide by ${heads} heads, got ${formatShape(shape)}`,
      )
    const size = c / heads
    return { batch: a, heads, rows: b, size, strides: { batch: b * c, head: size, row: c } }
  }
  if (shape.length === 2) return { batch: 1, heads: 1, rows: a, size: b, strides: { batch: 0, head: 0, row: b } }
  if (shape.length === 3) return { batch: a, heads: 1, rows: b, size: c, strides: { batch: b * c, head: 0, row: c } }
  return { batch: a, heads: b, rows: c, size: d, strides: { batch: b * c * d, head: c * d, row: d } }
}

function checkParts(shapes: InputShapes, query: Part, key: Part, value: Part): void {
  const from = `for query ${formatShape(shapes.query)}`
  const fail = (expected: string, name: 'key' | 'value'): never => {
    throw new ShapeError(`attention: expected ${expected}, got ${formatShape(shapes[name])}`)
  }
  if (query.size < 1)
    throw new ShapeError(`attention: expected a head size of at least 1, got query ${formatShape(shapes.query)}`)
  if (value.size < 1) fail('a value head size of at least 1', 'value')
  if (key.batch !== query.batch) fail(`key of batch ${query.batch} ${from}`, 'key')
  if (key.size !== query.size)
    fail(`${keyPattern(shapes.key, query.size)} to match query's head size ${query.size}`, 'key')
  if (key.heads === 0 ? query.heads > 0 : query.heads % key.heads !== 0)
    fail(`a number of key heads that divides query's ${query.heads}`, 'key')
  if (value.batch !== key.batch) fail(`value of batch ${key.batch} ${from}`, 'value')
  if (value.heads !== key.heads) fail(`value with key's ${key.heads} heads`, 'value')
  if (value.rows !== key.rows) fail(`value with key's ${key.rows} rows`, 'value')
}

function keyPattern(shape: readonly number[], size: number): string {
  const pattern: unknown[] = [...shape]
  pattern[shape.length - 2] = 'N'
  pattern[shape.length - 1] = size
  return `key ${formatShape(pattern)}`
}

function outputOf(
  sizes: AttentionSizes,
  rank: number,
  packed: boolean,
): Pick<Layout, 'output' | 'outputShape' | 'scoreShape' | 'rowShape'> {
  const { batch: B, heads: H, queries: M, keys: N, valueSize: Dv } = sizes
  checkedProduct([B, H, M, Dv], 'attention: output')
  if (packed) {
    const E = H * Dv
    return {
      output: { batch: M * E, head: Dv, row: E },
      outputShape: [B, M, E],
      scoreShape: [B, H, M, N],
      rowShape: [B, H, M],
    }
  }
  const output = { batch: H * M * Dv, head: M * Dv, row: Dv }
  const leading = rank === 2 ? [] : rank === 3 ? [B] : [B, H]
  return { output, outputShape: [...leading, M, Dv], scoreShape: [...leading, M, N], rowShape: [...leading, M] }
}
