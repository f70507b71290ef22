/**
 * What an analysis finds, as plain data: `JSON.stringify` keeps all of it. Heads and layers count from 0, so "1.3" is
 * head 3 of the second layer. Means are in float64; null stands where no row counts.
 */

/** Attention mass on a set of keys, as a share of 1. */
export type MassName = 'previous' | 'next' | 'self' | 'first' | 'near' | 'duplicate' | 'induction'

/**
 * Properties of a row of weights: entropy in nats, entropy / ln(allowed keys), Σ p·|position − j|, the largest weight.
 */
export type MeasureName = 'entropy' | 'relativeEntropy' | 'distance' | 'largest'

export type ScoreName = MassName | MeasureName

/** The mean of a quantity over query rows, beside the same mean for attention that knows nothing. */
export interface Score {
  readonly value: number | null
  /** for weights that are equal over the allowed keys of each row */
  readonly uniform: number | null
  /** for the same weights with the tokens in a random order; null where tokens do not matter */
  readonly shuffled: number | null
  /** rows that count: those whose set of keys is not empty */
  readonly rows: number
}

/** What a head does, where a score is large enough beside its baselines. */
export interface Role {
  /** the score, or `relation: ` and the relation's name */
  readonly name: string
  readonly value: number
  /** the larger of its baselines */
  readonly baseline: number
}

/** When a score makes a role: value ≥ factor · every baseline, and value ≥ share. */
export interface RoleRule {
  readonly factor: number
  readonly share: number
}

/** How a head relates positions that belong together, against heads that know positions alone. */
export interface RelationScore {
  readonly name: string
  /** mean weight of the related key */
  readonly value: number | null
  /** share of the pairs whose key has the largest weight of its row */
  readonly accuracy: number | null
  /** mean of 1 / allowed keys */
  readonly uniform: number | null
  /**
   * the share of pairs at the most frequent offset key − query: what a head that attends to that offset alone would
   * score
   */
  readonly fixedOffset: { readonly offset: number; readonly value: number } | null
  /** pairs that count: those whose query may see the key */
  readonly pairs: number
}

/** A key and its share of something that adds up to 1. */
export interface KeyShare {
  readonly key: number
  readonly label: string | null
  readonly share: number
}

/** Positions [start, end) that stand together in plots. */
export interface Bucket {
  readonly start: number
  readonly end: number
  /** of the first position */
  readonly label: string | null
}

/** Shares of keys: summed per bucket of `axes.keys`, and the largest ones. They add up to 1 over all keys. */
export interface KeyShares {
  readonly buckets: readonly number[]
  readonly largest: readonly KeyShare[]
}

export interface HeadAnalysis {
  readonly head: number
  readonly scores: Readonly<Partial<Record<ScoreName, Score>>>
  /** strongest first, against its baseline */
  readonly roles: readonly Role[]
  readonly relations: readonly RelationScore[]
  /** [query bucket][key bucket]: the mean over the bucket's rows of their mass on the key bucket */
  readonly heatmap: readonly (readonly number[])[] | null
  /** each key's share of all attention that this head gives */
  readonly received: KeyShares | null
}

/** How far apart heads are: distances[a][b] is the mean over `rows` of the Jensen–Shannon distance, 0 to 1 (base 2). */
export interface HeadDivergence {
  readonly rows: readonly number[]
  readonly distances: readonly (readonly number[])[]
}

export interface AttentionAnalysis {
  readonly format: 'heddle-attention-analysis/1'
  readonly batch: number
  readonly keyValueHeads: number
  readonly queries: number
  readonly keys: number
  readonly headSize: number
  readonly rule: RoleRule
  /** of heatmaps and shares; of one sequence */
  readonly axes: { readonly sequence: number; readonly queries: readonly Bucket[]; readonly keys: readonly Bucket[] }
  readonly heads: readonly HeadAnalysis[]
  readonly divergence: HeadDivergence | null
  readonly elapsedMs: number
}

/** One attention of a model. */
export interface LayerAnalysis extends AttentionAnalysis {
  readonly index: number
  /** the path of the layer in the model */
  readonly layer: string
}

/** Where the row of a last layer comes from, through all layers. */
export interface RolloutRow {
  readonly row: number
  readonly label: string | null
  readonly shares: KeyShares
}

export interface ModelAnalysis {
  readonly format: 'heddle-model-analysis/1'
  readonly model: string
  /** B and M */
  readonly sequences: number
  readonly length: number
  readonly layers: readonly LayerAnalysis[]
  /** null where it was not asked for, or layers do not attend to themselves */
  readonly rollout: readonly RolloutRow[] | null
  /** of the forward pass up to the last attention, and of everything */
  readonly forwardMs: number
  readonly elapsedMs: number
}
