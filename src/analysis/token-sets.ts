import type { RestatedOptions } from '../attention/restate-options.ts'
import type { SeedWords } from '../core/philox.ts'
import { UniformStream } from '../core/seed.ts'
import type { Tensor } from '../core/tensor.ts'
import { attend, type AnalysisHost, type AttentionCase, type Twins } from './attention-case.ts'
import { intersection } from './key-sets.ts'

/** The sets of keys that tokens decide about: earlier copies of the query's token, and what followed such copies. */
export type TokenSet = 'duplicate' | 'induction'

export const TOKEN_SETS: readonly TokenSet[] = ['duplicate', 'induction']

/** Log-sum-exps over a set of keys, [B, H, M]: of an attention, and of its uniform twin. */
export interface SetSums {
  readonly own: Float32Array
  readonly uniform: Float32Array
  /** the query position of each row [B, M] of the sums; null where they stand in their own order */
  readonly order: Int32Array | null
}

/**
 * Who carries which number: a query sees a key of a set where their numbers are equal and the key comes before. A
 * token and the segment it is in have one number; NONE is that of keys which no query sees.
 */
interface Numbers {
  /** [B, M] */
  readonly query: Int32Array
  /** [B, N] */
  readonly key: Int32Array
}

const NONE = -1

/** Tokens in a random order within each sequence: as many copies of each, at other places. */
export function shuffledTokens(tokens: Int32Array, batch: number, seed: SeedWords): Int32Array {
  const shuffled = tokens.slice()
  const length = tokens.length / batch
  const stream = new UniformStream(seed)
  for (let b = 0; b < batch; b++) {
    const row = shuffled.subarray(b * length, (b + 1) * length)
    // Fisher and Yates
    for (let last = length - 1; last > 0; last--) {
      const chosen = Math.floor(stream.next() * (last + 1))
      const kept = row[last] as number
      row[last] = row[chosen] as number
      row[chosen] = kept
    }
  }
  return shuffled
}

/**
 * Numbers of queries and keys, where the case has segments of its own within these. For induction a key carries the
 * number of the token before it, unless that is in another segment.
 */
function numbersOf(
  set: TokenSet,
  { sizes: { batch, keys }, options: { segments } }: AttentionCase,
  tokens: Int32Array,
): Numbers {
  const numbers = new Map<number, Map<number, number>>()
  let next = 0
  const numberOf = (segment: number, token: number): number => {
    const known = numbers.get(segment) ?? new Map<number, number>()
    numbers.set(segment, known)
    const number = known.get(token) ?? next++
    known.set(token, number)
    return number
  }
  const query = tokens.map((token, at) => numberOf(segments?.query.data[at] ?? 0, token))
  const segmentOf = (at: number): number => segments?.key.data[at] ?? 0
  const key = new Int32Array(batch * keys).map((_, at) => {
    if (set === 'duplicate') return numberOf(segmentOf(at), tokens[at] as number)
    const startsSegment = at % keys === 0 || segmentOf(at - 1) !== segmentOf(at)
    return startsSegment ? NONE : numberOf(segmentOf(at), tokens[at - 1] as number)
  })
  return { query, key }
}

/**
 * Whether rows may be put in the order of their tokens: nothing but the causal mask, segments and lengths depends on
 * positions, and a segment is the same for a row as query and as key, or hides the key.
 */
function canSort({ sizes: { batch, queries }, options }: AttentionCase): boolean {
  const { window, mask, bias, alibiSlopes, segments } = options
  if ([window, mask, bias, alibiSlopes].some((part) => part !== undefined)) return false
  if (segments === undefined) return true
  const {
    query: { data: query },
    key: { data: key },
  } = segments
  for (let b = 0; b < batch; b++) {
    const used = new Set(query.subarray(b * queries, (b + 1) * queries))
    for (let at = b * queries; at < (b + 1) * queries; at++)
      if (key[at] !== query[at] && used.has(key[at] as number)) return false
  }
  return true
}

/**
 * Log-sum-exps over the keys of a set. Tokens of one kind stand together once rows are sorted by token, so that lanes
 * skip every tile without an equal pair: the cost falls from n² to the number of equal pairs. In that order a key comes
 * before a query exactly where its rank is smaller, for both sets. Where the case's own options depend on positions,
 * rows stay where they are and all tiles are computed.
 */
export async function tokenSetSums(
  set: TokenSet,
  { attention, uniform }: Twins,
  host: AnalysisHost,
  tokens: Int32Array,
  rows: SortedRows,
): Promise<SetSums> {
  const call = canSort(attention)
    ? sortedCall(set, attention, numbersOf(set, attention, tokens), rows)
    : unsortedCall(set, attention, numbersOf(set, attention, tokens))
  return { own: await call.sums(attention, host), uniform: await call.sums(uniform, host), order: call.order }
}

/** How the sums of a set are computed, for an attention and for its twin. */
interface SetCall {
  readonly order: Int32Array | null
  readonly sums: (attention: AttentionCase, host: AnalysisHost) => Promise<Float32Array>
}

function unsortedCall(
  set: TokenSet,
  { sizes: { batch, queries, keys }, options: { window } }: AttentionCase,
  { query, key }: Numbers,
): SetCall {
  const segments = { query: { data: query, shape: [batch, queries] }, key: { data: key, shape: [batch, keys] } }
  // The key after an earlier copy may be the query itself.
  const before = intersection(window, { before: Infinity, after: set === 'duplicate' ? -1 : 0 })
  return {
    order: null,
    sums: async (attention, host) => (await attend(attention, host, { segments, window: before })).logSumExp.data,
  }
}

function sortedCall(
  set: TokenSet,
  { sizes: { batch, queries }, options: { scale, softcap, keyLengths } }: AttentionCase,
  { query, key }: Numbers,
  rows: SortedRows,
): SetCall {
  const order = orderOf(query, batch)
  const shift = set === 'duplicate' ? 0 : 1
  const keyOrder = order.map((position) => Math.min(queries - 1, position + shift))
  const ids = Int32Array.from(order, (position, at) => 2 * (query[rowStart(at, queries) + position] as number))
  // A key that is not of the set keeps a number near its neighbours': tiles are told apart by their smallest and
  // largest one.
  const keyIds = Int32Array.from(order, (position, at) => {
    const [start, place] = [rowStart(at, queries), position + shift]
    const isKey =
      place < (keyLengths?.[(at / queries) | 0] ?? queries) &&
      place < queries &&
      key[start + place] === query[start + position]
    return (ids[at] as number) + (isKey ? 0 : 1)
  })
  const shape = [batch, queries]
  const options: RestatedOptions = {
    window: { after: -1 },
    segments: { query: { data: ids, shape }, key: { data: keyIds, shape } },
    ...(scale === undefined ? {} : { scale }),
    ...(softcap === undefined ? {} : { softcap }),
  }
  const sums: SetCall['sums'] = async (attention, host) => {
    const sorted = {
      query: await inOrder(attention.query, order, rows.tensor('query', attention.query.shape, host), host),
      key: await inOrder(attention.key, keyOrder, rows.tensor('key', attention.key.shape, host), host),
    }
    return (await attend({ ...attention, ...sorted, options }, host, {})).logSumExp.data
  }
  return { order, sums }
}

function rowStart(at: number, rows: number): number {
  return at - (at % rows)
}

/** Positions of each sequence by number, those of one number in their own order: a counting sort. */
function orderOf(numbers: Int32Array, batch: number): Int32Array {
  const length = numbers.length / batch
  const order = new Int32Array(numbers.length)
  for (let b = 0; b < batch; b++) {
    const own = numbers.subarray(b * length, (b + 1) * length)
    const smallest = own.reduce((least, number) => Math.min(least, number), Infinity)
    const largest = own.reduce((most, number) => Math.max(most, number), -Infinity)
    // starts[k + 1] counts the number smallest + k at first, and says where the next one begins once summed up
    const starts = new Int32Array(length === 0 ? 0 : largest - smallest + 2)
    for (const number of own) starts[number - smallest + 1]!++
    for (let number = 1; number < starts.length; number++) starts[number]! += starts[number - 1]!
    for (let place = 0; place < length; place++) order[b * length + starts[own[place]! - smallest]!++] = place
  }
  return order
}

/** Tensors for sorted rows, one per part and shape: calls come one after the other, and each fills them anew. */
export class SortedRows {
  readonly #tensors = new Map<string, Tensor>()

  tensor(part: 'query' | 'key', shape: readonly number[], { runtime }: AnalysisHost): Tensor {
    const name = `${part} ${shape.join()}`
    const kept = this.#tensors.get(name) ?? runtime.tensor(shape)
    this.#tensors.set(name, kept)
    return kept
  }
}

/** Fills `result` with rows of [B, H, N, D] in another order of each sequence. */
async function inOrder(
  { data, shape }: Tensor,
  order: Int32Array,
  result: Tensor,
  { loop }: AnalysisHost,
): Promise<Tensor> {
  const [, heads = 0, rows = 0, size = 0] = shape
  const target = result.data
  await loop.run(data.length, (start, end) => {
    let row = Math.floor(start / size)
    for (let at = start; at < end; row++) {
      const head = Math.floor(row / rows)
      const from = head * rows + order[Math.floor(head / heads) * rows + (row % rows)]!
      const shift = (from - row) * size
      // Rows are short: a loop takes a tenth of the time of two views per row.
      for (const stop = Math.min(end, (row + 1) * size); at < stop; at++) target[at] = data[at + shift]!
    }
  })
  return result
}
