import type { AttentionSizes } from '../plan/attention-sizes.ts'
import type { PositionPair, ResolvedAnalysis } from './analysis-options.ts'
import type { RelationScore } from './report.ts'
import type { Summary } from './summary.ts'

/** The distinct query rows of all relations, ascending. */
export function relationRows(relations: ResolvedAnalysis['relations']): number[] {
  return [...new Set(relations.flatMap(({ pairs }) => pairs.map(([query]) => query)))].sort((a, b) => a - b)
}

/** Rows of weights of one sequence. */
interface WeightRows {
  readonly summary: Summary
  readonly heads: number
  /** which rows `summary.weights` [B, H, R, N] has */
  readonly rows: readonly number[]
}

/**
 * Each relation for each head of one sequence. The weight of the related key is held against uniform weights and
 * against the best fixed offset (Clark et al. 2019): a head that attended to one offset alone would score the share of
 * pairs that have it. Pairs whose query may not see the key are left out.
 */
export function relationScores(
  relations: ResolvedAnalysis['relations'],
  own: WeightRows,
  uniform: WeightRows,
  { keys }: AttentionSizes,
  sequence: number,
): RelationScore[][] {
  const rowOf = ({ summary, heads, rows }: WeightRows, head: number, query: number): Float32Array => {
    const start = ((sequence * heads + Math.min(head, heads - 1)) * rows.length + rows.indexOf(query)) * keys
    return summary.weights.subarray(start, start + keys)
  }
  return Array.from({ length: own.heads }, (_, head) =>
    relations.map(({ name, pairs }) => {
      const seen = pairs.filter(([query, key]) => (rowOf(uniform, head, query)[key] ?? 0) > 0)
      const mean = (valueOf: (pair: PositionPair) => number): number | null =>
        seen.length === 0 ? null : seen.reduce((sum, pair) => sum + valueOf(pair), 0) / seen.length
      return {
        name,
        value: mean(([query, key]) => rowOf(own, head, query)[key] ?? 0),
        accuracy: mean(([query, key]) => (largestPlace(rowOf(own, head, query)) === key ? 1 : 0)),
        uniform: mean(([query, key]) => rowOf(uniform, head, query)[key] ?? 0),
        fixedOffset: mostFrequentOffset(seen),
        pairs: seen.length,
      }
    }),
  )
}

/** The first place of the largest value. */
function largestPlace(row: Float32Array): number {
  let best = 0
  for (let place = 1; place < row.length; place++) if ((row[place] as number) > (row[best] as number)) best = place
  return best
}

function mostFrequentOffset(pairs: readonly PositionPair[]): RelationScore['fixedOffset'] {
  const counts = new Map<number, number>()
  for (const [query, key] of pairs) counts.set(key - query, (counts.get(key - query) ?? 0) + 1)
  const [first] = [...counts].sort(([a, countA], [b, countB]) => countB - countA || Math.abs(a) - Math.abs(b) || a - b)
  return first === undefined ? null : { offset: first[0], value: first[1] / pairs.length }
}
