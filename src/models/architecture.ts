import type { RotaryOptions } from '../nn/layers/rotary-frequencies.ts'
import type { LogitRule } from '../program/operations/logits.ts'
import type { Activation } from '../protocol/stage.ts'

/**
 * What a transformer of the hub is made of, as plain data: sizes, and the names that its parameters have in
 * safetensors. A family turns a `config.json` into one of these; `TransformerModel` builds it. Names are those after
 * the family's prefix.
 */
export interface Architecture {
  /** V: how many tokens there are */
  readonly vocabulary: number
  /** E */
  readonly modelDim: number
  /** the longest sequence that its positions allow */
  readonly maxLength: number
  /** what turns tokens into the first block's input */
  readonly embeddings: EmbeddingsSpec
  /** in the order in which they run */
  readonly blocks: readonly BlockSpec[]
  /** the norm after the last block; null for none */
  readonly finalNorm: NormSpec | null
  /** logits over the vocabulary: 'tied' takes the token table; null for encoders */
  readonly head: LinearSpec | 'tied' | null
  /** what the head's products go through; absent: nothing */
  readonly logits?: LogitRule
}

/** Tables that are added up for each token, and the norm of their sum. */
export interface EmbeddingsSpec {
  /** [vocabulary, E] */
  readonly tokens: TableSpec
  /** learned positions; token i reads row i + offset */
  readonly positions:
    | (TableSpec & {
        /** the row of the table that position 0 reads */
        readonly offset: number
      })
    | null
  /** token types */
  readonly types: TableSpec | null
  /** null for none */
  readonly norm: NormSpec | null
}

/** A table [rows, width]; `name` is the parameter's own, such as `wte.weight`. */
export interface TableSpec {
  /** the parameter's name */
  readonly name: string
  /** entries of the table */
  readonly rows: number
  /** elements per entry */
  readonly width: number
}

/** y = x·Wᵀ + b with `name.weight` [outSize, inSize] and `name.bias`. */
export interface LinearSpec {
  /** the path of `weight` and `bias` */
  readonly name: string
  /** elements of x */
  readonly inSize: number
  /** elements of y */
  readonly outSize: number
  /** whether there is a bias */
  readonly bias: boolean
  /** where several share one matrix: its first row here, and how many rows the whole has */
  readonly part?: {
    /** first row of this part */
    readonly rowStart: number
    /** rows of the whole matrix */
    readonly ofRows: number
  }
}

/** `name.weight` [size], and `name.bias` where there is one. */
export interface NormSpec {
  /** the path of `weight` and `bias` */
  readonly name: string
  /** LayerNorm, or RMSNorm */
  readonly kind: 'layer' | 'rms'
  /** elements per row */
  readonly size: number
  /** added to the variance, or to the mean square */
  readonly epsilon: number
  /** whether there is a bias */
  readonly bias: boolean
}

/** Projections, positions and masks of one attention. */
export interface AttentionSpec {
  /** H */
  readonly heads: number
  /** Hkv */
  readonly keyValueHeads: number
  /** D; H·D need not be E */
  readonly headSize: number
  /** of the block's input, to [.., H·D] */
  readonly query: LinearSpec
  /** of the block's input, to [.., Hkv·D] */
  readonly key: LinearSpec
  /** of the block's input, to [.., Hkv·D] */
  readonly value: LinearSpec
  /** of the joined heads, to [.., E] */
  readonly output: LinearSpec
  /** norms over each head's D elements, before positions */
  readonly queryNorm: NormSpec | null
  /** of keys; null for none */
  readonly keyNorm: NormSpec | null
  /** rotary positions; null for none */
  readonly rotary: RotaryOptions | null
  /** whether a row sees earlier rows and itself only */
  readonly causal: boolean
  /** how far a row sees, itself not counted; null: as far as there is */
  readonly window: {
    /** rows before its own */
    readonly before: number
    /** rows after its own */
    readonly after: number
  } | null
  /** [H] */
  readonly alibiSlopes: Float32Array | null
  /** null: 1/√D */
  readonly scale: number | null
}

/** y = down(f(gate(x)) ∘ up(x)); without a gate y = down(f(up(x))). */
export interface FeedForwardSpec {
  /** null for none */
  readonly gate: LinearSpec | null
  /** E to the hidden size */
  readonly up: LinearSpec
  /** the hidden size to E */
  readonly down: LinearSpec
  /** f */
  readonly activation: Activation
}

/** One transformer block of an architecture. */
export interface BlockSpec {
  /** its path, for traces: `encoder.layer.0` */
  readonly name: string
  /** `post`: h = norm(x + attention(x)), y = norm(h + ff(h)); `pre`: h = x + attention(norm(x)), y = h + ff(norm(h)) */
  readonly order: 'post' | 'pre'
  /** null: none, as in the first block of ModernBERT */
  readonly attentionNorm: NormSpec | null
  /** of the feed-forward layer's input, or of the block's output */
  readonly feedForwardNorm: NormSpec | null
  /** the block's attention */
  readonly attention: AttentionSpec
  /** the block's feed-forward layer */
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
