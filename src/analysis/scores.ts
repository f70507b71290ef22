import { attend, type AnalysisHost, type AttentionCase, type Twins } from './attention-case.ts'
import type { ResolvedAnalysis } from './analysis-options.ts'
import { POSITION_SETS, restrictTo } from './key-sets.ts'
import { headMeans, shareOf, type HeadMeans, type RowSizes } from './means.ts'
import type { MassName, MeasureName, Score, ScoreName } from './report.ts'
import { shuffledTokens, SortedRows, TOKEN_SETS, tokenSetSums, type SetSums } from './token-sets.ts'
import type { Summary } from './summary.ts'

/** Scores by name, one per head. */
export type HeadScores = ReadonlyMap<ScoreName, readonly Score[]>

/** Calls of the runtime that the scores take. */
export function scoreCalls(tokens: Int32Array | null): number {
  return 2 * (POSITION_SETS.length + (tokens === null ? 0 : 2 * TOKEN_SETS.length))
}

/**
 * Every score of every head. The mass on a set of keys is exp(L_set − L_all), where L is the log-sum-exp over the
 * allowed keys of the set, and over all allowed keys: two calls that differ in their masks. Rows whose set is empty do
 * not count.
 */
export async function measureScores(
  twins: Twins,
  summaries: { readonly own: Summary; readonly uniform: Summary },
  host: AnalysisHost,
  { near, seed, queryMask }: ResolvedAnalysis,
  tokens: Int32Array | null,
): Promise<HeadScores> {
  const means = new SetMeans(twins.attention, summaries, host, queryMask)
  const scores = new Map<ScoreName, readonly Score[]>()
  for (const set of POSITION_SETS) {
    const sums = async (attention: AttentionCase): Promise<Float32Array> =>
      (await attend(attention, host, restrictTo(set, attention.options, attention.sizes, near))).logSumExp.data
    scores.set(
      set,
      await means.scoresOf(set, { own: await sums(twins.attention), uniform: await sums(twins.uniform), order: null }),
    )
  }
  if (tokens !== null) {
    const shuffled = shuffledTokens(tokens, twins.attention.sizes.batch, seed)
    const rows = new SortedRows()
    for (const set of TOKEN_SETS) {
      const sums = await tokenSetSums(set, twins, host, tokens, rows)
      scores.set(set, await means.scoresOf(set, sums, await tokenSetSums(set, twins, host, shuffled, rows)))
    }
  }
  for (const [name, score] of await measureRows(twins.attention, summaries, host, queryMask)) scores.set(name, score)
  return scores
}

/** Means of masses over the rows whose set is not empty. */
class SetMeans {
  constructor(
    private readonly attention: AttentionCase,
    private readonly summaries: { readonly own: Summary; readonly uniform: Summary },
    private readonly host: AnalysisHost,
    private readonly queryMask: Uint8Array | null,
  ) {}

  async scoresOf(set: MassName, sums: SetSums, shuffled?: SetSums): Promise<readonly Score[]> {
    const { own, uniform } = this.summaries
    const value = await this.#means(set, sums, sums.own, own)
    const even = await this.#means(set, sums, sums.uniform, uniform)
    const other = shuffled === undefined ? null : await this.#means(set, shuffled, shuffled.own, own)
    return toScores(value, even, other)
  }

  /** @param sums of the set, [B, H, M], or [B, 1, M] where one head stands for all */
  #means(set: MassName, { uniform, order }: SetSums, sums: Float32Array, { logSumExp }: Summary): Promise<HeadMeans> {
    const { sizes, what } = this.attention
    const { queries } = sizes
    const [sumOf, emptyOf, allOf] = [reader(sums, sizes), reader(uniform, sizes), reader(logSumExp, sizes)]
    return headMeans(`${what}: ${set}`, sizes, this.host.loop, (place, shared) => {
      if (emptyOf(place, shared) === -Infinity) return null
      // How far the row is from its own position, where rows were sorted.
      const moved = order === null ? 0 : (order[shared] as number) - (shared % queries)
      if (this.queryMask?.[shared + moved] === 0) return null
      return shareOf(sumOf(place, shared), allOf(place + moved, shared + moved))
    })
  }
}

/** Reads an array that has a row for each head, or one for all heads, by both places of a row. */
function reader(array: Float32Array, { batch, heads, queries }: RowSizes): (place: number, shared: number) => number {
  return array.length === batch * heads * queries
    ? (place) => array[place] as number
    : (_, shared) => array[shared] as number
}

const MEASURES: readonly MeasureName[] = ['entropy', 'relativeEntropy', 'distance', 'largest']

/** Means of what statistics say about each row, over the rows that see a key. */
async function measureRows(
  { what, sizes }: AttentionCase,
  summaries: { readonly own: Summary; readonly uniform: Summary },
  { loop }: AnalysisHost,
  queryMask: Uint8Array | null,
): Promise<ReadonlyMap<MeasureName, readonly Score[]>> {
  const scores = new Map<MeasureName, readonly Score[]>()
  const counts = summaries.uniform.logSumExp
  const countOf = reader(counts, sizes)
  for (const name of MEASURES) {
    const means = ({ statistics }: Summary): Promise<HeadMeans> => {
      const data = {
        entropy: statistics.entropy,
        relativeEntropy: statistics.entropy,
        distance: statistics.meanDistance,
        largest: statistics.maxWeight,
      }[name].data
      const valueOf = reader(data, sizes)
      return headMeans(`${what}: ${name}`, sizes, loop, (place, shared) => {
        // of equal weights the log-sum-exp is the logarithm of how many keys there are
        const logCount = countOf(place, shared)
        if (logCount === -Infinity || queryMask?.[shared] === 0) return null
        const value = valueOf(place, shared)
        if (name !== 'relativeEntropy') return value
        return logCount < LOG_TWO_KEYS ? null : value / logCount
      })
    }
    scores.set(name, toScores(await means(summaries.own), await means(summaries.uniform), null))
  }
  return scores
}

/** Below it a row sees one key: its entropy is 0 whatever the head does. */
const LOG_TWO_KEYS = 0.5

function toScores(value: HeadMeans, uniform: HeadMeans, shuffled: HeadMeans | null): readonly Score[] {
  return value.means.map((mean, head) => ({
    value: mean,
    uniform: uniform.means[head] ?? null,
    shuffled: shuffled?.means[head] ?? null,
    rows: value.rows[head] ?? 0,
  }))
}
