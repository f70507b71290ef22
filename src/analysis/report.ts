/**
 * What an analysis finds, as plain data: `JSON.stringify` keeps all of it. Heads and layers count from 0, so "1.3" is
 * head 3 of the second layer. Means are in float64; a mean is null where no row counts.
 */

/** Attention mass on a set of keys, as a share of 1. */
export type MassName = 'previous' | 'next' | 'self' | 'first' | 'near' | 'duplicate' | 'induction'

/**
 * Properties of a row of weights: entropy in nats, entropy / ln(allowed keys), Σ p·|position − j|, the largest weight.
 */
export type MeasureName = 'entropy' | 'relativeEntropy' | 'distance' | 'largest'

/** Everything that an analysis measures for each head. */
export type ScoreName = MassName | MeasureName

/** The mean of a quantity over query rows, next to the same mean for uninformed attention. */
export interface Score {
  /** the mean over `rows` rows; null where no row counts */
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
  /** the head's score */
  readonly value: number
  /** the larger of its baselines */
  readonly baseline: number
}

/** When a score makes a role: value ≥ factor · every baseline, and value ≥ share. */
export interface RoleRule {
  /** how many times each of its baselines the score must be */
  readonly factor: number
  /** the least score that makes a role */
  readonly share: number
}

/** How a head relates positions that belong together, against heads that know positions alone. */
export interface RelationScore {
  /** as in the option `relations` */
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
  readonly fixedOffset: {
    /** key position minus query position */
    readonly offset: number
    /** share of the pairs at that offset */
    readonly value: number
  } | null
  /** pairs that count: those whose query may see the key */
  readonly pairs: number
}

/** A key and its share of something that adds up to 1. */
export interface KeyShare {
  /** position of the key */
  readonly key: number
  /** the text at that position, where `labels` were given */
  readonly label: string | null
  /** from 0 to 1 */
  readonly share: number
}

/** Positions [start, end) that are one cell in plots. */
export interface Bucket {
  /** first position */
  readonly start: number
  /** one past the last position */
  readonly end: number
  /** of the first position */
  readonly label: string | null
}

/** Shares of keys: summed per bucket of `axes.keys`, and the largest ones. They add up to 1 over all keys. */
export interface KeyShares {
  /** one sum per bucket */
  readonly buckets: readonly number[]
  /** the keys with the largest shares, largest first */
  readonly largest: readonly KeyShare[]
}

/** What one head attends to. */
export interface HeadAnalysis {
  /** index of the head, from 0 */
  readonly head: number
  /** by name; scores that do not apply are left out */
  readonly scores: Readonly<Partial<Record<ScoreName, Score>>>
  /** strongest first, against its baseline */
  readonly roles: readonly Role[]
  /** one per relation of the option `relations` */
  readonly relations: readonly RelationScore[]
  /** [query bucket][key bucket]: the mean over the bucket's rows of their mass on the key bucket */
  readonly heatmap: readonly (readonly number[])[] | null
  /** each key's share of all attention that this head gives */
  readonly received: KeyShares | null
}

/** How far apart heads are: distances[a][b] is the mean over `rows` of the Jensen–Shannon distance, 0 to 1 (base 2). */
export interface HeadDivergence {
  /** the query rows on which heads are compared */
  readonly rows: readonly number[]
  /** [head][head], symmetric, with zeros on the diagonal */
  readonly distances: readonly (readonly number[])[]
}

/** What the heads of one attention attend to. Plain data: `JSON.stringify` keeps all of it. */
export interface AttentionAnalysis {
  /** name and version of this format */
  readonly format: 'heddle-attention-analysis/1'
  /** B */
  readonly batch: number
  /** Hkv: heads of key and value */
  readonly keyValueHeads: number
  /** M */
  readonly queries: number
  /** N */
  readonly keys: number
  /** D */
  readonly headSize: number
  /** the rule by which heads have roles */
  readonly rule: RoleRule
  /** of heatmaps and shares; of one sequence */
  readonly axes: {
    /** index of the sequence in the batch */
    readonly sequence: number
    /** the buckets of query rows: the rows of a heatmap */
    readonly queries: readonly Bucket[]
    /** the buckets of key rows: the columns of a heatmap */
    readonly keys: readonly Bucket[]
  }
  /** one per query head */
  readonly heads: readonly HeadAnalysis[]
  /** null where no row was compared */
  readonly divergence: HeadDivergence | null
  /** what the analysis took */
  readonly elapsedMs: number
}

/** One attention of a model. */
export interface LayerAnalysis extends AttentionAnalysis {
  /** index of the layer, from 0 */
  readonly index: number
  /** the path of the layer in the model */
  readonly layer: string
}

/** Where the row of a last layer comes from, through all layers. */
export interface RolloutRow {
  /** position of the row */
  readonly row: number
  /** the text at that position, where `labels` were given */
  readonly label: string | null
  /** share of each input position in the row */
  readonly shares: KeyShares
}

/** What every head of a model attends to. Plain data: `JSON.stringify` keeps all of it. */
export interface ModelAnalysis {
  /** name and version of this format */
  readonly format: 'heddle-model-analysis/1'
  /** the model's class */
  readonly model: string
  /** B and M */
  readonly sequences: number
  /** tokens per sequence, M */
  readonly length: number
  /** one per attention of the model, in the order in which they run */
  readonly layers: readonly LayerAnalysis[]
  /** null where it was not asked for, or layers do not attend to themselves */
  readonly rollout: readonly RolloutRow[] | null
  /** of the forward pass up to the last attention, and of everything */
  readonly forwardMs: number
  /** what the analysis took */
  readonly elapsedMs: number
}
