import type { RotaryOptions } from '../nn/layers/rotary-frequencies.ts'
import type { LogitRule } from '../program/operations/logits.ts'
import type { Activation } from '../protocol/stage.ts'

/**
 * What a transformer of the hub is made of, as plain data: sizes, and the names that its parameters have in
 * safetensors. A family turns a `config.json` into one of these; `TransformerModel` builds it. Names are those after
 * the family's prefix.
 */
export interface Architecture {
  readonly vocabulary: number
  /** E */
  readonly modelDim: number
  /** the longest sequence that its positions allow */
  readonly maxLength: number
  readonly embeddings: EmbeddingsSpec
  readonly blocks: readonly BlockSpec[]
  readonly finalNorm: NormSpec | null
  /** logits over the vocabulary: 'tied' takes the token table; null for encoders */
  readonly head: LinearSpec | 'tied' | null
  /** what the head's products go through; absent: nothing */
  readonly logits?: LogitRule
}

export interface EmbeddingsSpec {
  /** [vocabulary, E] */
  readonly tokens: TableSpec
  /** learned positions; token i reads row i + offset */
  readonly positions: (TableSpec & { readonly offset: number }) | null
  /** token types */
  readonly types: TableSpec | null
  readonly norm: NormSpec | null
}

/** A table [rows, width]; `name` is the parameter's own, such as `wte.weight`. */
export interface TableSpec {
  readonly name: string
  readonly rows: number
  readonly width: number
}

/** y = x·Wᵀ + b with `name.weight` [outSize, inSize] and `name.bias`. */
export interface LinearSpec {
  readonly name: string
  readonly inSize: number
  readonly outSize: number
  readonly bias: boolean
  /** where several share one matrix: its first row here, and how many rows the whole has */
  readonly part?: { readonly rowStart: number; readonly ofRows: number }
}

/** `name.weight` [size], and `name.bias` where there is one. */
export interface NormSpec {
  readonly name: string
  readonly kind: 'layer' | 'rms'
  readonly size: number
  readonly epsilon: number
  readonly bias: boolean
}

export interface AttentionSpec {
  readonly heads: number
  readonly keyValueHeads: number
  /** D; H·D need not be E */
  readonly headSize: number
  readonly query: LinearSpec
  readonly key: LinearSpec
  readonly value: LinearSpec
  readonly output: LinearSpec
  /** norms over each head's D elements, before positions */
  readonly queryNorm: NormSpec | null
  readonly keyNorm: NormSpec | null
  readonly rotary: RotaryOptions | null
  readonly causal: boolean
  /** how far a row sees, itself not counted; null: as far as there is */
  readonly window: { readonly before: number; readonly after: number } | null
  /** [H] */
  readonly alibiSlopes: Float32Array | null
  /** null: 1/√D */
  readonly scale: number | null
}

/** y = down(f(gate(x)) ∘ up(x)); without a gate y = down(f(up(x))). */
export interface FeedForwardSpec {
  readonly gate: LinearSpec | null
  readonly up: LinearSpec
  readonly down: LinearSpec
  readonly activation: Activation
}

export interface BlockSpec {
  /** its path, for traces: `encoder.layer.0` */
  readonly name: string
  /** `post`: h = norm(x + attention(x)), y = norm(h + ff(h)); `pre`: h = x + attention(norm(x)), y = h + ff(norm(h)) */
  readonly order: 'post' | 'pre'
  /** null: none, as in the first block of ModernBERT */
  readonly attentionNorm: NormSpec | null
  readonly feedForwardNorm: NormSpec | null
  readonly attention: AttentionSpec
  readonly feedForward: FeedForwardSpec
}

/** What most attention has none of. */
export const PLAIN_ATTENTION = {
  queryNorm: null,
  keyNorm: null,
  rotary: null,
  causal: false,
  window: null,
  alibiSlopes: null,
  scale: null,
} as const satisfies Partial<AttentionSpec>

/** Query, key and value as rows of one matrix [(H + 2·Hkv)·D, E], in this order. */
export function joinedProjections(
  name: string,
  { modelDim, heads, keyValueHeads, headSize, bias }: JoinedSizes,
): Pick<AttentionSpec, 'query' | 'key' | 'value'> {
  const [query, other] = [heads * headSize, keyValueHeads * headSize]
  const part = (rowStart: number, outSize: number): LinearSpec => ({
    name,
    inSize: modelDim,
    outSize,
    bias,
    part: { rowStart, ofRows: query + 2 * other },
  })
  return { query: part(0, query), key: part(query, other), value: part(query + other, other) }
}

interface JoinedSizes {
  readonly modelDim: number
  readonly heads: number
  readonly keyValueHeads: number
  readonly headSize: number
  readonly bias: boolean
}

/** Name and shape of every parameter, in the order of the architecture; shared ones once. */
export function parameterShapes(architecture: Architecture): Map<string, readonly number[]> {
  const { embeddings, blocks, finalNorm, head, modelDim } = architecture
  const shapes = new Map<string, readonly number[]>()
  const tables = [embeddings.tokens, ...[embeddings.positions, embeddings.types].filter((table) => table !== null)]
  for (const { name, rows, width } of tables) shapes.set(name, [rows, width])
  addNorm(shapes, embeddings.norm)
  for (const { attention, feedForward, attentionNorm, feedForwardNorm } of blocks) {
    for (const each of [attention.query, attention.key, attention.value, attention.output]) addLinear(shapes, each)
    for (const each of [attention.queryNorm, attention.keyNorm, attentionNorm, feedForwardNorm]) addNorm(shapes, each)
    for (const each of [feedForward.gate, feedForward.up, feedForward.down]) if (each !== null) addLinear(shapes, each)
  }
  addNorm(shapes, finalNorm)
  if (head !== null && head !== 'tied') addLinear(shapes, { ...head, inSize: modelDim })
  return shapes
}

function addLinear(shapes: Map<string, readonly number[]>, { name, inSize, outSize, bias, part }: LinearSpec): void {
  const rows = part?.ofRows ?? outSize
  shapes.set(`${name}.weight`, [rows, inSize])
  if (bias) shapes.set(`${name}.bias`, [rows])
}

function addNorm(shapes: Map<string, readonly number[]>, norm: NormSpec | null): void {
  if (norm === null) return
  shapes.set(`${norm.name}.weight`, [norm.size])
  if (norm.bias) shapes.set(`${norm.name}.bias`, [norm.size])
}
