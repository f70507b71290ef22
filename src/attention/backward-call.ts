import { checkBoolean, checkNames, expected } from '../core/check.ts'
import { ShapeError } from '../core/errors.ts'
import { checkedProduct } from '../core/integers.ts'
import { formatShape, readTensor, type Tensor } from '../core/tensor.ts'
import type {
  AttentionBackwardInputs,
  AttentionBackwardOptions,
  AttentionTransposedInputs,
  AttentionTransposedOptions,
} from './backward-options.ts'
import { resolveLayout, type InputShapes, type Layout, type Strides } from './layout.ts'
import { resolveOptions, type ResolvedOptions } from './resolve-options.ts'
import { ATTENTION_WEIGHT_OPTIONS } from './weight-options.ts'

/** A call over key segments after all checks. */
export interface SegmentCall {
  /** `valueSize` is the width of X in Pᵀ·X */
  readonly layout: Layout
  readonly options: ResolvedOptions
  /** rows of the log-sum-exp: [B, H, M] */
  readonly rowStrides: Strides
}

export interface BackwardCall extends SegmentCall {
  readonly biasGradient: boolean
  readonly biasShape: readonly number[]
  /** shapes of the gradients: those of the inputs */
  readonly shapes: InputShapes
}

/** Rows of Pᵀ·X: key rows of every query head. */
export interface TransposedCall extends SegmentCall {
  readonly outputStrides: Strides
  readonly outputShape: readonly number[]
}

/** Shapes for `runtime.planBackward`: each a shape, or a tensor, whose memory is then taken into account. */
export interface BackwardPlanInputs {
  /** [.., M, D] */
  readonly query: readonly number[] | Tensor
  /** [.., N, D] */
  readonly key: readonly number[] | Tensor
  /** [.., N, Dv] */
  readonly value: readonly number[] | Tensor
  /** the forward call's output, where its memory counts */
  readonly output?: Tensor
  /** the forward call's log-sum-exp, where its memory counts */
  readonly logSumExp?: Tensor
  /** the output's gradient, where its memory counts */
  readonly dOutput?: Tensor
}

const INPUTS = ['query', 'key', 'value'] as const
const RESULT_OPTIONS = [
  ...ATTENTION_WEIGHT_OPTIONS,
  'dropout',
  'heads',
  'keyValueHeads',
  'chunkSize',
  'signal',
  'onProgress',
] as const

/** @throws {OptionError} {ShapeError} before anything is allocated */
export function checkBackward(
  given: AttentionBackwardInputs,
  options: AttentionBackwardOptions,
): BackwardCall & { readonly inputs: AttentionBackwardInputs } {
  const own = checkNames('attentionBackward: inputs', given, [...INPUTS, 'output', 'logSumExp', 'dOutput'])
  const read = (name: keyof AttentionBackwardInputs): Tensor =>
    readTensor(`attentionBackward: ${name}`, Float32Array, own[name])
  const inputs = {
    query: read('query'),
    key: read('key'),
    value: read('value'),
    output: read('output'),
    logSumExp: read('logSumExp'),
    dOutput: read('dOutput'),
  }
  const call = checkBackwardShapes(
    { query: inputs.query.shape, key: inputs.key.shape, value: inputs.value.shape },
    options,
  )
  const { outputShape, rowShape } = call.layout
  checkSame('attentionBackward: output', inputs.output, outputShape)
  checkSame('attentionBackward: logSumExp', inputs.logSumExp, rowShape)
  checkSame('attentionBackward: dOutput', inputs.dOutput, outputShape)
  return { ...call, inputs }
}

/** The same for shapes alone. */
export function checkBackwardShapes(shapes: InputShapes, options: AttentionBackwardOptions): BackwardCall {
  options = checkNames('attentionBackward: options', options, [...RESULT_OPTIONS, 'biasGradient'])
  const { biasGradient = true, ...others } = options
  checkBoolean('attentionBackward: option biasGradient', biasGradient)
  const layout = resolveLayout(shapes, options.heads, options.keyValueHeads)
  const resolved = resolveOptions(others, layout)
  return {
    layout,
    options: resolved,
    rowStrides: rowsOfHeads(layout),
    biasGradient: biasGradient && resolved.bias !== null,
    biasShape: options.bias?.shape ?? [],
    shapes,
  }
}

/** @throws {OptionError} {ShapeError} before anything is allocated */
export function checkTransposed(
  given: AttentionTransposedInputs,
  options: AttentionTransposedOptions,
): TransposedCall & { readonly inputs: AttentionTransposedInputs } {
  const own = checkNames('attentionTransposed: inputs', given, ['query', 'key', 'logSumExp', 'rows'])
  const read = (name: keyof AttentionTransposedInputs): Tensor =>
    readTensor(`attentionTransposed: ${name}`, Float32Array, own[name])
  const [query, key, logSumExp] = [read('query'), read('key'), read('logSumExp')]
  const inputs = { query, key, logSumExp, ...(own.rows === undefined ? {} : { rows: read('rows') }) }
  options = checkNames('attentionTransposed: options', options, RESULT_OPTIONS)
  const layout = transposedLayout(inputs, options)
  checkSame('attentionTransposed: logSumExp', logSumExp, layout.rowShape)
  const call = { layout, options: withoutDropout(resolveOptions(options, layout)), rowStrides: rowsOfHeads(layout) }
  return { ...call, ...transposedOutput(layout, query.shape.length, options.heads !== undefined), inputs }
}

/** Reads X as the value of a call whose "keys" are the query rows, so that layouts have one meaning. */
function transposedLayout(
  { query, key, rows }: AttentionTransposedInputs,
  { heads, keyValueHeads }: AttentionTransposedOptions,
): Layout {
  const keyed = resolveLayout({ query: query.shape, key: key.shape, value: key.shape }, heads, keyValueHeads)
  const width = rows === undefined ? 1 : widthOf(rows, query, keyed.sizes.heads, heads !== undefined)
  const { heads: H, queries: M } = keyed.sizes
  const strides =
    heads !== undefined
      ? { batch: M * H * width, head: width, row: H * width }
      : { batch: H * M * width, head: M * width, row: width }
  return { ...keyed, sizes: { ...keyed.sizes, valueSize: width }, value: strides }
}

/** C, after a look at every other size of X. */
function widthOf(rows: Tensor, query: Tensor, heads: number, packed: boolean): number {
  const last = rows.shape.at(-1) ?? 0
  const pattern = [...query.shape.slice(0, -1), packed ? 'H·C' : 'C']
  const same =
    rows.shape.length === query.shape.length &&
    query.shape.every((size, axis) => axis === query.shape.length - 1 || rows.shape[axis] === size)
  const fits = same && last > 0 && (!packed || last % heads === 0)
  if (!fits)
    throw new ShapeError(
      `attentionTransposed: expected rows ${formatShape(pattern)} for query ${formatShape(query.shape)}, got ${formatShape(rows.shape)}`,
    )
  return packed ? last / heads : last
}

function transposedOutput(
  { sizes }: Layout,
  rank: number,
  packed: boolean,
): Pick<TransposedCall, 'outputStrides' | 'outputShape'> {
  const { batch: B, heads: H, keys: N, valueSize: C } = sizes
  checkedProduct([B, H, N, C], 'attentionTransposed: output')
  if (packed) return { outputStrides: { batch: N * H * C, head: C, row: H * C }, outputShape: [B, N, H * C] }
  const leading = rank === 2 ? [] : rank === 3 ? [B] : [B, H]
  return { outputStrides: { batch: H * N * C, head: N * C, row: C }, outputShape: [...leading, N, C] }
}

/** Weights before dropout: it takes no part. */
function withoutDropout(options: ResolvedOptions): ResolvedOptions {
  return { ...options, settings: { ...options.settings, dropout: null } }
}

function rowsOfHeads({ sizes: { heads, queries } }: Layout): Strides {
  return { batch: heads * queries, head: queries, row: 1 }
}

function checkSame(what: string, { shape }: Tensor, wanted: readonly number[]): void {
  const same = shape.length === wanted.length && shape.every((size, axis) => size === wanted[axis])
  if (!same) throw new ShapeError(`${what}: expected shape ${formatShape(wanted)}, got ${formatShape(shape)}`)
}

/** Shapes out of what `runtime.planBackward` is given: shapes, or tensors, whose memory is then looked at. */
export function backwardPlanInputs(inputs: unknown): {
  readonly shapes: InputShapes
  readonly arrays: Partial<Record<keyof AttentionBackwardInputs, Float32Array>>
} {
  inputs = checkNames('planBackward: inputs', inputs, [...INPUTS, 'output', 'logSumExp', 'dOutput'])
  const given = inputs as Partial<Record<keyof AttentionBackwardInputs, unknown>>
  const isTensor = (value: unknown): value is Tensor =>
    typeof value === 'object' && value !== null && 'shape' in value && Array.isArray(value.shape)
  const read = (name: (typeof INPUTS)[number]): readonly number[] => {
    const value = given[name]
    if (Array.isArray(value)) return value as number[]
    if (isTensor(value)) return value.shape
    throw expected(`planBackward: ${name}`, `a shape such as ${formatShape(['B', 'H', 'N', 'D'])}, or a tensor`, value)
  }
  const arrays = Object.fromEntries(
    Object.entries(given).flatMap(([name, value]) => (isTensor(value) ? [[name, value.data]] : [])),
  )
  return { shapes: { query: read('query'), key: read('key'), value: read('value') }, arrays }
}
