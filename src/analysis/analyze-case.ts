import type { Tensor } from '../core/tensor.ts'
import type { ResolvedAnalysis } from './analysis-options.ts'
import { uniformTwin, type AnalysisHost, type AttentionCase, type Twins } from './attention-case.ts'
import { divergenceOf, divergenceRows } from './divergence.ts'
import { bucketsOf, heatmapsOf, sharesOf } from './heatmap.ts'
import { transposed } from './received.ts'
import { relationRows, relationScores } from './relations.ts'
import type {
  AttentionAnalysis,
  HeadAnalysis,
  HeadDivergence,
  KeyShares,
  RelationScore,
  Score,
  ScoreName,
} from './report.ts'
import { rolesOf } from './roles.ts'
import { measureScores, scoreCalls, type HeadScores } from './scores.ts'
import { summarise, type Summary } from './summary.ts'

/** An analysis, and Pᵀ·X of the rows that came with it, [B, H, N, C]. */
export interface CaseAnalysis {
  readonly analysis: AttentionAnalysis
  readonly carried: Float32Array | null
}

/** Calls of the runtime that one case takes. */
export function caseCalls({ received }: ResolvedAnalysis, tokens: Int32Array | null, carries = false): number {
  return 2 + scoreCalls(tokens) + (received || carries ? 1 : 0)
}

/** Which rows of weights are read, and for what. */
interface ChosenRows {
  readonly compared: readonly number[]
  readonly all: readonly number[]
}

/** Analyzes one attention. @param carry X of Pᵀ·X, [B, H, M, C], for rollout; its first column is ones */
export async function analyzeCase(
  attention: AttentionCase,
  host: AnalysisHost,
  options: ResolvedAnalysis,
  tokens: Int32Array | null,
  carry?: Tensor,
): Promise<CaseAnalysis> {
  const startMs = performance.now()
  const { sizes } = attention
  const { sequence, heatmapSize, relations } = options
  const axes = axesOf(attention, options)
  const rows = chooseRows(attention, options)
  const twins: Twins = { attention, uniform: uniformTwin(attention, host.runtime) }
  const related = relationRows(relations)
  const own = await summarise(attention, host, heatmapSize === 0 ? 0 : axes.keys.length, rows.all)
  const uniform = await summarise(twins.uniform, host, 0, related)
  const scores = await measureScores(twins, { own, uniform }, host, options, tokens)
  const heatmaps = heatmapSize === 0 ? null : await heatmapsOf(own, sizes, axes, host.loop)
  const carried =
    options.received || carry !== undefined ? await transposed(attention, own.logSumExp, host, carry) : null
  const received =
    options.received && carried !== null ? await receivedShares(attention, carried, axes.keys, host, options) : null
  const found = relationScores(
    relations,
    { summary: own, heads: sizes.heads, rows: rows.all },
    { summary: uniform, heads: twins.uniform.sizes.heads, rows: related },
    sizes,
    sequence,
  )
  const heads = assembleHeads(scores, { found, heatmaps, received }, sizes.heads, options)
  const divergence = await compareHeads(own, attention, rows, host)
  const { batch, keyValueHeads, queries, keys, headSize } = sizes
  const analysis: AttentionAnalysis = {
    format: 'heddle-attention-analysis/1',
    ...{ batch, keyValueHeads, queries, keys, headSize, rule: options.rule, axes, heads, divergence },
    elapsedMs: performance.now() - startMs,
  }
  return { analysis, carried }
}

/** Buckets of received attention where no heatmap is wanted. */
const DEFAULT_BUCKETS = 64

function axesOf(
  { sizes: { queries, keys } }: AttentionCase,
  { sequence, labels, heatmapSize }: ResolvedAnalysis,
): AttentionAnalysis['axes'] {
  const buckets = heatmapSize === 0 ? DEFAULT_BUCKETS : heatmapSize
  return {
    sequence,
    queries: bucketsOf(Math.min(buckets, queries), queries, labelsOf(labels, queries)),
    keys: bucketsOf(Math.min(buckets, keys), keys, labels),
  }
}

/** Labels belong to keys; queries have them where they are the same positions. */
function labelsOf(labels: readonly string[] | null, queries: number): readonly string[] | null {
  return labels?.length === queries ? labels : null
}

function chooseRows({ sizes }: AttentionCase, { divergenceRows: wanted, relations }: ResolvedAnalysis): ChosenRows {
  const compared = divergenceRows(sizes, wanted)
  return { compared, all: [...new Set([...compared, ...relationRows(relations)])].sort((a, b) => a - b) }
}

async function compareHeads(
  own: Summary,
  { sizes }: AttentionCase,
  { compared, all }: ChosenRows,
  { loop }: AnalysisHost,
): Promise<HeadDivergence | null> {
  return compared.length === 0 ? null : divergenceOf(own, sizes, all, compared, loop)
}

/** Column 0 of Pᵀ·X is what each key receives. */
async function receivedShares(
  { sizes: { batch, heads, keys } }: AttentionCase,
  output: Float32Array,
  columns: AttentionAnalysis['axes']['keys'],
  { loop }: AnalysisHost,
  { sequence, labels }: ResolvedAnalysis,
): Promise<KeyShares[]> {
  const width = output.length / Math.max(1, batch * heads * keys)
  const shares: KeyShares[] = []
  for (let head = 0; head < heads; head++) {
    const start = (sequence * heads + head) * keys
    shares.push(await sharesOf(keys, columns, labels, loop, (key) => output[(start + key) * width] as number))
  }
  return shares
}

interface HeadParts {
  readonly found: readonly (readonly RelationScore[])[]
  readonly heatmaps: readonly (readonly (readonly number[])[])[] | null
  readonly received: readonly KeyShares[] | null
}

function assembleHeads(
  scores: HeadScores,
  { found, heatmaps, received }: HeadParts,
  heads: number,
  { rule }: ResolvedAnalysis,
): HeadAnalysis[] {
  return Array.from({ length: heads }, (_, head) => {
    const own: Partial<Record<ScoreName, Score>> = {}
    for (const [name, each] of scores) own[name] = each[head] as Score
    const relations = found[head] ?? []
    return {
      head,
      scores: own,
      roles: rolesOf(own, relations, rule),
      relations,
      heatmap: heatmaps?.[head] ?? null,
      received: received?.[head] ?? null,
    }
  })
}
