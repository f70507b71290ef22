import type { AttentionOptions, AttentionWindow } from '../../attention/attention-options.ts'
import { resolveLayout } from '../../attention/layout.ts'
import { resolveOptions, type ResolvedOptions } from '../../attention/resolve-options.ts'
import { ShapeError } from '../../core/errors.ts'
import { asInt32, type IntegerArray, type IntegerTensor } from '../../core/integer-arrays.ts'
import type { SeedWords } from '../../core/philox.ts'
import { formatShape, readTensor, type Tensor, type TensorClass } from '../../core/tensor.ts'
import { seedValue } from '../../core/seed.ts'

/** What attention layers take beside `ForwardOptions`; the rules are those of `attention`. */
export interface LayerAttentionOptions {
  /**
   * Key j is seen by query i when j ≤ i; with a cache, i counts from the cache's start.
   *
   * @default true with a cache, else false
   */
  readonly causal?: boolean
  /** Keys that a query sees around its own position. @default unbounded */
  readonly window?: AttentionWindow
  /** Nonzero may attend: [M, N], [B, M, N] (the same for all heads) or [B, H, M, N]; sizes of 1 broadcast. */
  readonly mask?: IntegerTensor
  /** Nonzero may be attended: [B, N] or [N]. The opposite of PyTorch's key_padding_mask. */
  readonly keyMask?: IntegerTensor
  /** Added to the scaled scores; shapes as for `mask`. */
  readonly bias?: Tensor
  /** [H] or [B·H] */
  readonly alibiSlopes?: Float32Array
  /** Scores become softcap·tanh(score/softcap). 0 is off. @default 0 */
  readonly softcap?: number
  /** A query sees a key only where their numbers are equal. */
  readonly segments?: {
    /** [B, M], or [M] where B is 1 */
    readonly query: IntegerTensor
    /** [B, N], or [N] where B is 1 */
    readonly key: IntegerTensor
  }
  /** The number of valid keys per batch item, [B]; later keys are ignored. */
  readonly keyLengths?: IntegerArray
}

export const LAYER_ATTENTION_NAMES: readonly (keyof LayerAttentionOptions)[] = [
  'causal',
  'window',
  'mask',
  'keyMask',
  'bias',
  'alibiSlopes',
  'softcap',
  'segments',
  'keyLengths',
]

export interface LayerAttentionSizes {
  readonly batch: number
  readonly heads: number
  readonly keyValueHeads: number
  readonly queries: number
  readonly keys: number
  readonly headSize: number
}

export interface LayerAttentionExtras {
  /** rows that a cache held before: one entry per sequence where they differ, else one for all */
  readonly positions: readonly number[]
  readonly dropout: number
  readonly seed: SeedWords | null
}

/** The options of `attention` that these layer options stand for, on [B, H, M, D] tensors. */
export function toAttentionOptions(
  what: string,
  sizes: LayerAttentionSizes,
  options: LayerAttentionOptions,
  extras: LayerAttentionExtras,
): AttentionOptions {
  const { causal, window, mask, bias, alibiSlopes, softcap } = options
  const { positions, dropout, seed } = extras
  return {
    ...(causal === undefined ? {} : { causal }),
    ...(window === undefined ? {} : { window }),
    ...(alibiSlopes === undefined ? {} : { alibiSlopes }),
    ...(softcap === undefined ? {} : { softcap }),
    ...(mask === undefined ? {} : { mask: withHeadAxis(`${what}: option mask`, Uint8Array, mask) }),
    ...(bias === undefined ? {} : { bias: withHeadAxis(`${what}: option bias`, Float32Array, bias) }),
    ...ownRowsOnly(keyLimits(what, sizes, options), sizes, positions),
    ...(positions.every((position) => position === 0)
      ? {}
      : { queryOffset: positions.length > 1 ? Int32Array.from(positions) : (positions[0] ?? 0) }),
    ...(seed === null || dropout === 0 ? {} : { dropout: { probability: dropout, seed: seedValue(seed) } }),
  }
}

/** Checked and filled in. @throws {ShapeError} {OptionError} as `attention` does */
export function resolveLayerAttention(sizes: LayerAttentionSizes, options: AttentionOptions): ResolvedOptions {
  const { batch, heads, keyValueHeads, queries, keys, headSize } = sizes
  const key = [batch, keyValueHeads, keys, headSize]
  return resolveOptions(options, resolveLayout({ query: [batch, heads, queries, headSize], key, value: key }))
}

/** [B, M, N] counts for all heads; other ranks stay. */
function withHeadAxis<Data extends Uint8Array | Float32Array>(
  what: string,
  Class: TensorClass<Data>,
  given: Tensor<Data> | IntegerTensor,
): Tensor<Data> {
  const { data, shape } = readTensor(what, Class, given)
  if (shape.length !== 3) return { data, shape }
  return { data, shape: [shape[0] ?? 1, 1, shape[1] ?? 1, shape[2] ?? 1] }
}

/**
 * A key mask that only cuts off the end is a length, which skips work; any other is a segment number that no query has.
 */
function keyLimits(
  what: string,
  sizes: LayerAttentionSizes,
  { keyMask, keyLengths, segments }: LayerAttentionOptions,
): Pick<AttentionOptions, 'keyLengths' | 'segments'> {
  const given = { ...(keyLengths === undefined ? {} : { keyLengths }), ...(segments === undefined ? {} : { segments }) }
  if (keyMask === undefined) return given
  const mask = readTensor(`${what}: option keyMask`, Uint8Array, keyMask)
  const { batch, keys, queries } = sizes
  const fits =
    mask.shape.length === 1
      ? batch === 1 && mask.shape[0] === keys
      : mask.shape.length === 2 && mask.shape[0] === batch && mask.shape[1] === keys
  if (!fits)
    throw new ShapeError(
      `${what}: option keyMask: expected shape ${formatShape([batch, keys])}, got ${formatShape(mask.shape)}`,
    )
  const lengths = prefixLengths(mask.data, batch, keys)
  if (lengths !== null && keyLengths === undefined) return { ...given, keyLengths: lengths }
  const read = (name: 'query' | 'key'): Tensor<Int32Array> | undefined =>
    segments && readTensor(`${what}: option segments.${name}`, Int32Array, segments[name])
  const own = { query: read('query'), key: read('key') }
  return { ...given, segments: maskedSegments(mask.data, { batch, queries, keys }, own) }
}

/**
 * Where sequences of a cache have different lengths, each ends with the rows of this call. Wrong lengths stay, for
 * attention to refuse.
 */
function ownRowsOnly<Limits extends Pick<AttentionOptions, 'keyLengths'>>(
  limits: Limits,
  { batch, queries }: LayerAttentionSizes,
  positions: readonly number[],
): Limits {
  const keyLengths = asInt32('keyLengths', limits.keyLengths)
  if (positions.length <= 1 || (limits.keyLengths !== undefined && keyLengths?.length !== batch)) return limits
  return {
    ...limits,
    keyLengths: Int32Array.from(positions, (position, b) => Math.min(keyLengths?.[b] ?? Infinity, position + queries)),
  }
}

function prefixLengths(mask: Uint8Array, batch: number, keys: number): Int32Array | null {
  const lengths = new Int32Array(batch)
  for (let b = 0; b < batch; b++) {
    const row = mask.subarray(b * keys, (b + 1) * keys)
    const length = row.indexOf(0)
    lengths[b] = length < 0 ? keys : length
    if (length >= 0 && row.subarray(length).some((allowed) => allowed !== 0)) return null
  }
  return lengths
}

function maskedSegments(
  mask: Uint8Array,
  { batch, queries, keys }: Pick<LayerAttentionSizes, 'batch' | 'queries' | 'keys'>,
  segments: { readonly query: Tensor<Int32Array> | undefined; readonly key: Tensor<Int32Array> | undefined },
): NonNullable<AttentionOptions['segments']> {
  const query = segments.query ?? { data: new Int32Array(batch * queries), shape: [batch, queries] }
  const taken = new Set(query.data)
  let unused = -1
  while (taken.has(unused)) unused--
  const key = Int32Array.from(mask, (allowed, index) => (allowed === 0 ? unused : (segments.key?.data[index] ?? 0)))
  return { query, key: { data: key, shape: [batch, keys] } }
}
