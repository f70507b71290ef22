import { attend, type AnalysisHost, type AttentionCase, type Twins } from './attention-case.ts'
import type { ResolvedAnalysis } from './analysis-options.ts'
import { POSITION_SETS, restrictTo } from './key-sets.ts'
import { headMeans, shareOf, type HeadMeans } from './means.ts'
import type { MassName, MeasureName, Score, ScoreName } from './report.ts'
import { shuffledTokens, TOKEN_SETS, tokenSetSums, type SetSums } from './token-sets.ts'
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
    for (const set of TOKEN_SETS) {
      const sums = await tokenSetSums(set, twins, host, tokens)
      scores.set(set, await means.scoresOf(set, sums, await tokenSetSums(set, twins, host, shuffled)))
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
    const [sumPlace, emptyPlace, allPlace] = [placer(sums, sizes), placer(uniform, sizes), placer(logSumExp, sizes)]
    return headMeans(`${what}: ${set}`, sizes, this.host.loop, (place) => {
      if (uniform[emptyPlace(place)] === -Infinity) return null
      const row = place % queries
      const batch = Math.floor(place / (queries * sizes.heads))
      const position = order === null ? row : (order[batch * queries + row] as number)
      if (this.queryMask?.[batch * queries + position] === 0) return null
      return shareOf(sums[sumPlace(place)] as number, logSumExp[allPlace(place - row + position)] as number)
    })
  }
}

/** Where a place of [B, H, M] is in an array that has a row for each head, or one for all heads. */
export function placer(
  array: Float32Array,
  { batch, heads, queries }: { readonly batch: number; readonly heads: number; readonly queries: number },
): (place: number) => number {
  if (array.length === batch * heads * queries) return (place) => place
  return (place) => Math.floor(place / (queries * heads)) * queries + (place % queries)
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
  const countPlace = placer(counts, sizes)
  for (const name of MEASURES) {
    const means = ({ statistics }: Summary): Promise<HeadMeans> => {
      const data = {
        entropy: statistics.entropy,
        relativeEntropy: statistics.entropy,
        distance: statistics.meanDistance,
        largest: statistics.maxWeight,
      }[name].data
      const dataPlace = placer(data, sizes)
      return headMeans(`${what}: ${name}`, sizes, loop, (place) => {
        // of equal weights the log-sum-exp is the logarithm of how many keys there are
        const logCount = counts[countPlace(place)] as number
        const query = Math.floor(place / (sizes.queries * sizes.heads)) * sizes.queries + (place % sizes.queries)
        if (logCount === -Infinity || queryMask?.[query] === 0) return null
        const value = data[dataPlace(place)] as number
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
