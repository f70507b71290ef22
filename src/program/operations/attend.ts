import type { ResolvedOptions } from '../../attention/resolve-options.ts'
import { visiblePairs, type Visibility } from '../../plan/attention-sizes.ts'
import type { Chunk } from '../../protocol/chunk.ts'
import { ROW_RESULTS, type RowResultName, type TaskArray } from '../../protocol/task.ts'
import type { Graph } from '../graph.ts'
import type { AttendAttributes, Operation, Value } from '../operation.ts'
import { split } from './split.ts'

/** The sizes of attention between values [batch, rows, heads·D]. */
export interface AttendSizes {
  readonly heads: number
  readonly keyHeads: number
}

export interface AttendInputs {
  readonly query: Value
  readonly key: Value
  readonly value: Value
}

/** What attention makes: the context [B, M, H·Dv], and what the options ask for beside it. */
export interface Attended {
  readonly context: Value
  readonly results: ReadonlyMap<RowResultName | 'weights', Value>
}

/** softmax(scale·QKᵀ + …)·V for every head; query [B, M, H·D], key [B, N, Hkv·D], value [B, N, Hkv·Dv]. */
export function attend(
  graph: Graph,
  { query, key, value }: AttendInputs,
  { heads, keyHeads }: AttendSizes,
  options: ResolvedOptions,
): Attended {
  const { batch, rows } = query
  const inputs = [split(graph, query, heads), split(graph, key, keyHeads), split(graph, value, keyHeads)]
  const keys = key.rows
  const [headSize, valueSize] = [query.width / heads, value.width / keyHeads]
  const results = wantedResults(options, graph.forGradients)
  const attributes: AttendAttributes = { options, heads, keyHeads, keys, headSize, valueSize, results }
  const outputs = graph.addWith('attend', inputs, attributes, [
    { name: 'context', sizes: { batch, rows, width: heads * valueSize } },
    ...results.map((name) => resultValue(name, attributes, { batch, rows })),
  ])
  const [context] = outputs
  return {
    context: context as Value,
    results: new Map(results.map((name, index) => [name, outputs[index + 1] as Value])),
  }
}

/** Gradients need the log-sum-exp. */
function wantedResults(
  { logSumExp, statistics, weights }: ResolvedOptions,
  forGradients: boolean,
): (RowResultName | 'weights')[] {
  const rowResults = ROW_RESULTS.filter((name) => (name === 'logSumExp' ? logSumExp || forGradients : statistics))
  return weights === 'none' ? rowResults : [...rowResults, 'weights']
}

/** [B, H, M] each; weights [B, H, M, N], or those of the chosen heads and rows. */
function resultValue(
  name: RowResultName | 'weights',
  { options, heads, keys }: AttendAttributes,
  { batch, rows }: Pick<Value, 'batch' | 'rows'>,
) {
  if (name !== 'weights')
    return {
      name,
      sizes: { batch, rows, width: heads },
      storage: { layout: 'heads' as const, heads, integers: name === 'maxIndex' },
    }
  const chosen = chosenWeights(options)
  const [count, chosenRows] = chosen === null ? [heads, rows] : [chosen.heads.length, chosen.rows.length]
  return {
    name,
    sizes: { batch, rows: chosenRows, width: count * keys },
    storage: { layout: 'heads' as const, heads: count, capacity: chosenRows },
  }
}

/** The distinct heads and rows whose weights are wanted, ascending; null where all of them are, or none. */
export function chosenWeights({
  weights,
}: ResolvedOptions): { readonly heads: readonly number[]; readonly rows: readonly number[] } | null {
  if (typeof weights === 'string') return null
  const distinct = (list: readonly number[]): number[] => [...new Set(list)].sort((a, b) => a - b)
  return { heads: distinct(weights.heads), rows: distinct(weights.rows) }
}

/** Work of attention over one chunk of rows, which may run on into the next sequences. */
export function attendFlops(
  { attributes: { options, heads, headSize, valueSize }, outputs: [context] }: Operation<'attend'>,
  chunk: Chunk,
): number {
  const visibility: Visibility = { ...options.settings, queryOffset: options.queryOffset, keyLength: options.keyLength }
  const sequence = (context as Value).rows
  let pairs = 0
  for (let done = 0; done < chunk.rows;) {
    const flat = chunk.rowStart + done
    const row = flat % sequence
    const rows = Math.min(chunk.rows - done, sequence - row)
    pairs += visiblePairs(row, rows, chunk.batch + Math.floor(flat / sequence), visibility)
    done += rows
  }
  return pairs * 2 * (headSize + valueSize) * heads
}

/** The arrays of mask, bias and segments. */
export function optionArrays({
  attributes: {
    options: { mask, bias, segments },
  },
}: Operation<'attend'>): TaskArray[] {
  return [
    ...(mask === null ? [] : [mask.data]),
    ...(bias === null ? [] : [bias.data]),
    ...(segments === null ? [] : [segments.query, segments.key]),
  ]
}
