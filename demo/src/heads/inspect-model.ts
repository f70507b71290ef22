import type { Runtime } from 'heddle'
import { analyzeModel, type HeadAnalysis, type Role, type RoleRule, type Score, type ScoreName } from 'heddle/analysis'
import type { CausalLanguageModel } from 'heddle/nn'

/** Of an input: a matrix per head is shown with a cell per weight. */
export const LONGEST_INPUT = 64

/** One head over one sequence. */
export interface InspectedHead {
  /** `1.3`: head 3 of the second layer, as `heddle analyze` counts */
  readonly name: string
  readonly layer: number
  readonly size: number
  /** attention weights [n, n] by rows; NaN where the mask hides the key */
  readonly values: Float32Array
  readonly scores: Readonly<Partial<Record<ScoreName, Score>>>
  /** strongest first; none where no score stands out from its baselines */
  readonly roles: readonly Role[]
}

/** What all heads of a model do over one sequence. */
export interface Inspection {
  readonly labels: readonly string[]
  readonly heads: readonly InspectedHead[]
  readonly rule: RoleRule
  /** [n][n]: where each position comes from through all layers */
  readonly rollout: readonly (readonly number[])[]
}

/**
 * Analyzes a model over 2 to `LONGEST_INPUT` tokens: scores, roles, weights and rollout come from `analyzeModel`.
 *
 * @throws as `analyzeModel` does
 */
export async function inspectModel(
  model: CausalLanguageModel,
  { tokens, labels }: { readonly tokens: Int32Array; readonly labels: readonly string[] },
  call: { readonly runtime: Runtime; readonly signal?: AbortSignal; readonly rollout?: boolean },
): Promise<Inspection> {
  const { runtime, signal, rollout = true } = call
  const size = tokens.length
  const analysis = await analyzeModel(
    model,
    { data: tokens, shape: [size] },
    {
      ...{ runtime, labels, heatmapSize: LONGEST_INPUT, divergenceRows: 0, received: false },
      ...(signal === undefined ? {} : { signal }),
      rollout: rollout ? [...tokens.keys()] : [],
    },
  )
  const [first] = analysis.layers
  return {
    labels,
    heads: analysis.layers.flatMap(({ index, heads }) => heads.map((head) => inspected(index, size, head))),
    rule: first?.rule ?? { factor: 0, share: 0 },
    rollout: (analysis.rollout ?? []).map(({ shares }) => shares.buckets),
  }
}

function inspected(layer: number, size: number, { head, heatmap, scores, roles }: HeadAnalysis): InspectedHead {
  const values = Float32Array.from({ length: size * size }, (_, at) => {
    const [query, key] = [Math.floor(at / size), at % size]
    return key > query ? NaN : (heatmap?.[query]?.[key] ?? NaN)
  })
  return { name: `${layer}.${head}`, layer, size, values, scores, roles }
}
