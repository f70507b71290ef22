import {
  checkedSignal,
  checkBoolean,
  checkFloat32,
  checkFunction,
  checkInteger,
  checkNames,
  checkOneOf,
  expected,
} from '../core/check.ts'
import { OptionError, ShapeError } from '../core/errors.ts'
import { asInt32, type IntegerTensor } from '../core/integer-arrays.ts'
import { isSize } from '../core/integers.ts'
import { formatShape, isOfClass, readTensor, type Tensor, type TensorClass, type TensorData } from '../core/tensor.ts'
import type { AttentionMode } from '../plan/attention-request.ts'
import type { AttentionSizes } from '../plan/attention-sizes.ts'
import type { AttentionSettings } from '../protocol/task.ts'
import { PRIORITIES, type Priority } from '../scheduler/job.ts'
import type { AttentionOptions, WeightSelection } from './attention-options.ts'
import { broadcastToScores, type ScoreStrides } from './broadcast.ts'
import type { Layout } from './layout.ts'
import { refuseTwoBiases, resolveRelativeBias, type ResolvedBias } from './relative-bias.ts'
import { ATTENTION_WEIGHT_OPTIONS } from './weight-options.ts'

/** Options after all checks: every default filled in, every shape read. Inner code trusts them. */
export interface ResolvedOptions {
  readonly mode: AttentionMode
  readonly settings: AttentionSettings
  /**
   * one entry per batch, or a single entry for all of them (a plan may name more batches than an array can hold);
   * `keyLength` works the same way
   */
  readonly queryOffset: readonly number[]
  readonly keyLength: readonly number[]
  /** [H] or [B·H]: head h of batch b has slope (b·H + h) mod length */
  readonly alibiSlopes: Float32Array | null
  readonly mask: { readonly data: Uint8Array; readonly strides: ScoreStrides } | null
  readonly bias: ResolvedBias | null
  readonly segments: { readonly query: Int32Array; readonly key: Int32Array } | null
  readonly weights: 'none' | 'all' | { readonly heads: readonly number[]; readonly rows: readonly number[] }
  readonly logSumExp: boolean
  readonly statistics: boolean
  readonly chunkSize: number | undefined
  readonly out: Float32Array | null
  readonly signal: AbortSignal | undefined
  readonly priority: Priority | undefined
  readonly onProgress: AttentionOptions['onProgress']
  readonly onChunk: AttentionOptions['onChunk']
  readonly onTask: AttentionOptions['onTask']
  /** what may be a mistake, for the report */
  readonly notes: readonly string[]
}

/** Every option of `attention`. */
export const OPTION_NAMES: readonly (keyof AttentionOptions)[] = [
  ...ATTENTION_WEIGHT_OPTIONS,
  'dropout',
  'mode',
  'chunkSize',
  'heads',
  'keyValueHeads',
  'returnWeights',
  'returnLogSumExp',
  'returnStatistics',
  'out',
  'signal',
  'priority',
  'onProgress',
  'onChunk',
  'onTask',
]

/** @throws {OptionError} for an unknown name; the values are checked by `resolveOptions` */
export function checkOptionNames(options: unknown): AttentionOptions {
  return checkNames('attention: options', options, OPTION_NAMES)
}

/**
 * @throws {OptionError} when a value has a wrong type or range
 * @throws {ShapeError} when a tensor among them does not fit the inputs
 */
export function resolveOptions(options: AttentionOptions, layout: Layout): ResolvedOptions {
  options = checkOptionNames(options)
  const { sizes } = layout
  const weights = resolveWeights(options.returnWeights, sizes)
  const queryOffset = resolveQueryOffset(options.queryOffset, sizes.batch)
  return {
    mode: resolveMode(options.mode, weights === 'all'),
    settings: {
      ...resolveNumbers(options, sizes),
      ...resolveWindow(options.window),
      standard: resolveMode(options.mode, weights === 'all') === 'standard',
    },
    queryOffset,
    keyLength: resolveKeyLengths(options.keyLengths, sizes),
    alibiSlopes: resolveSlopes(options.alibiSlopes, sizes),
    mask: options.mask === undefined ? null : overScores('mask', Uint8Array, options.mask, layout),
    bias: resolveBias(options, layout, queryOffset),
    segments: resolveSegments(options.segments, sizes),
    weights,
    logSumExp: flag('returnLogSumExp', options.returnLogSumExp),
    statistics: flag('returnStatistics', options.returnStatistics),
    chunkSize: optional('chunkSize', options.chunkSize, (what, value) => checkInteger(what, value, 1)),
    out: resolveOut(options.out, layout),
    signal: checkedSignal(named('signal'), options.signal),
    priority: checkPriority(named('priority'), options.priority),
    onProgress: optional('onProgress', options.onProgress, checkFunction),
    onChunk: optional('onChunk', options.onChunk, checkFunction),
    onTask: optional('onTask', options.onTask, checkFunction),
    notes: causalNote(options, sizes),
  }
}

/** Rows behind a cache need an offset, and nobody can tell them from rows at the start of the keys: only a note. */
function causalNote({ causal, queryOffset }: AttentionOptions, { queries, keys }: AttentionSizes): readonly string[] {
  if (causal !== true || queryOffset !== undefined || queries === keys || queries === 0 || keys === 0) return []
  return [
    `causal with M = ${queries}, N = ${keys} and no queryOffset: rows that follow cached keys need queryOffset: ${keys - queries}; queryOffset: 0 ends this note.`,
  ]
}

const named = (name: string): string => `attention: option ${name}`

export function checkPriority(what: string, priority: unknown): Priority | undefined {
  if (priority !== undefined) checkOneOf(what, priority, PRIORITIES)
  return priority
}

function optional<T>(name: string, value: T | undefined, check: (what: string, value: unknown) => void): T | undefined {
  if (value !== undefined) check(named(name), value)
  return value
}

function flag(name: string, value: boolean | undefined): boolean {
  if (value === undefined) return false
  checkBoolean(named(name), value)
  return value
}

function resolveNumbers(
  options: AttentionOptions,
  { keys, headSize, valueSize }: AttentionSizes,
): Omit<AttentionSettings, 'windowBefore' | 'windowAfter' | 'standard'> {
  const scale = optional('scale', options.scale, checkFloat32) ?? 1 / Math.sqrt(headSize)
  const softcap = optional('softcap', options.softcap, checkFloat32) ?? 0
  if (softcap < 0) throw expected(named('softcap'), 'a number ≥ 0', softcap)
  return {
    keys,
    headSize,
    valueSize,
    scale,
    softcap,
    causal: flag('causal', options.causal),
    dropout: resolveDropout(options.dropout),
  }
}

function resolveMode(mode: AttentionOptions['mode'], allWeights: boolean): AttentionMode {
  const chosen = mode ?? 'auto'
  checkOneOf(named('mode'), chosen, ['auto', 'standard', 'chunked'])
  if (chosen === 'chunked' && allWeights) {
    throw new OptionError(
      'attention: expected mode "standard" or "auto" with returnWeights: true, got "chunked", which never makes the whole matrix; ask for some with returnWeights: { heads, rows }',
    )
  }
  if (chosen !== 'auto') return chosen
  return allWeights ? 'standard' : 'chunked'
}

function resolveWindow(window: AttentionOptions['window']): Pick<AttentionSettings, 'windowBefore' | 'windowAfter'> {
  if (window === undefined) return { windowBefore: Infinity, windowAfter: Infinity }
  window = checkNames(named('window'), window, ['before', 'after'])
  const side = (name: 'before' | 'after'): number => {
    const value = window[name]
    if (value === undefined || value === Infinity) return Infinity
    checkInteger(named(`window.${name}`), value, -MOST_OFFSET)
    return value
  }
  return { windowBefore: side('before'), windowAfter: side('after') }
}

function resolveDropout(dropout: AttentionOptions['dropout']): AttentionSettings['dropout'] {
  if (dropout === undefined) return null
  dropout = checkNames(named('dropout'), dropout, ['probability', 'seed'])
  const { probability, seed } = dropout
  if (typeof probability !== 'number' || !(probability >= 0 && probability <= 1))
    throw expected(named('dropout.probability'), 'a number from 0 to 1', probability)
  const wide = typeof seed === 'bigint' ? seed : isSize(seed) ? BigInt(seed) : -1n
  if (wide < 0n || wide >= 1n << 64n)
    throw expected(named('dropout.seed'), 'a safe integer ≥ 0 or a bigint below 2^64', seed)
  if (probability === 0) return null
  return {
    threshold: Math.floor(probability * 2 ** 32),
    keepScale: probability === 1 ? 0 : 1 / (1 - probability),
    seedLow: Number(wide & 0xffffffffn),
    seedHigh: Number(wide >> 32n),
  }
}

/** Kernels count positions in 32 bits, with room for the rows, the window and their differences. */
const MOST_OFFSET = 2 ** 28

function resolveQueryOffset(offset: AttentionOptions['queryOffset'], batch: number): number[] {
  const each = named('queryOffset')
  const offsets = asInt32(each, offset)
  if (offsets !== undefined) {
    if (offsets.length !== batch)
      throw new ShapeError(`${each}: expected ${batch} offsets, one per batch, got ${offsets.length}`)
    for (const value of offsets) checkInteger(each, value, -MOST_OFFSET, MOST_OFFSET)
    return [...offsets]
  }
  const value: unknown = offset ?? 0
  if (typeof value !== 'number') throw expected(each, 'an integer or an Int32Array [B]', value)
  checkInteger(each, value, -MOST_OFFSET, MOST_OFFSET)
  return [value]
}

function resolveKeyLengths(given: AttentionOptions['keyLengths'], { batch, keys }: AttentionSizes): number[] {
  if (given === undefined) return [keys]
  const lengths = asInt32(named('keyLengths'), given)
  if (lengths === undefined) throw expected(named('keyLengths'), 'an Int32Array [B]', given)
  if (lengths.length !== batch)
    throw new ShapeError(`${named('keyLengths')}: expected ${batch} lengths, one per batch, got ${lengths.length}`)
  const wrong = lengths.find((length) => length < 0 || length > keys)
  if (wrong !== undefined) throw expected(named('keyLengths'), `lengths from 0 to ${keys}`, wrong)
  return [...lengths]
}

function resolveSlopes(slopes: AttentionOptions['alibiSlopes'], { batch, heads }: AttentionSizes): Float32Array | null {
  if (slopes === undefined) return null
  if (!isOfClass(Float32Array, slopes)) throw expected(named('alibiSlopes'), 'a Float32Array [H] or [B·H]', slopes)
  if (slopes.length !== heads && slopes.length !== batch * heads) {
    throw new ShapeError(
      `${named('alibiSlopes')}: expected ${heads} slopes [H] or ${batch * heads} [B·H], got ${slopes.length}`,
    )
  }
  if (slopes.some((slope) => !Number.isFinite(slope)))
    throw expected(
      named('alibiSlopes'),
      'finite slopes',
      slopes.find((slope) => !Number.isFinite(slope)),
    )
  // Few, and read during the whole call.
  return Float32Array.from(slopes)
}

function resolveBias(options: AttentionOptions, layout: Layout, queryOffset: readonly number[]): ResolvedBias | null {
  refuseTwoBiases(options)
  const { bias, relativeBias } = options
  if (relativeBias !== undefined) return resolveRelativeBias(relativeBias, layout.sizes, queryOffset)
  return bias === undefined ? null : { ...overScores('bias', Float32Array, bias, layout), table: null }
}

function overScores<Data extends TensorData>(
  name: string,
  Class: TensorClass<Data>,
  value: Tensor<Data> | IntegerTensor,
  layout: Layout,
): { data: Data; strides: ScoreStrides } {
  const { data, shape } = readTensor(named(name), Class, value)
  return { data, strides: broadcastToScores(name, shape, layout) }
}

function resolveSegments(
  segments: AttentionOptions['segments'],
  { batch, queries, keys }: AttentionSizes,
): ResolvedOptions['segments'] {
  if (segments === undefined) return null
  segments = checkNames(named('segments'), segments, ['query', 'key'])
  const read = (name: 'query' | 'key', rows: number): Int32Array => {
    const { data, shape } = readTensor(named(`segments.${name}`), Int32Array, segments[name])
    const fits =
      shape.length === 2
        ? shape[0] === batch && shape[1] === rows
        : shape.length === 1 && batch === 1 && shape[0] === rows
    if (!fits)
      throw new ShapeError(
        `${named(`segments.${name}`)}: expected shape ${formatShape([batch, rows])}, got ${formatShape(shape)}`,
      )
    return data
  }
  return { query: read('query', queries), key: read('key', keys) }
}

function resolveWeights(wanted: unknown, { heads, queries }: AttentionSizes): ResolvedOptions['weights'] {
  if (wanted === undefined || wanted === false) return 'none'
  if (wanted === true) return 'all'
  const selection: WeightSelection = checkNames(named('returnWeights'), wanted, ['heads', 'rows'])
  return { heads: indexList('heads', selection.heads, heads), rows: indexList('rows', selection.rows, queries) }
}

/** A list left out means all; past this many that is a mistake, not a wish. */
const LONGEST_LIST = 2 ** 24

function indexList(name: 'heads' | 'rows', list: unknown, size: number): readonly number[] {
  const what = named(`returnWeights.${name}`)
  if (list === undefined) {
    if (size > LONGEST_LIST)
      throw expected(
        what,
        `a list of indices, for ${name === 'heads' ? 'so many heads' : 'so many rows'} as ${size}`,
        list,
      )
    return Array.from({ length: size }, (_, index) => index)
  }
  if (!Array.isArray(list) && !(ArrayBuffer.isView(list) && !(list instanceof DataView)))
    throw expected(what, 'a list of indices', list)
  const indices = Array.from(list as ArrayLike<number>)
  for (const index of indices)
    if (!isSize(index) || index >= size) throw expected(what, `indices from 0 to ${size - 1}`, index)
  return indices
}

function resolveOut(out: AttentionOptions['out'], { outputShape }: Layout): Float32Array | null {
  if (out === undefined) return null
  const { data, shape } = readTensor(named('out'), Float32Array, out)
  const same = shape.length === outputShape.length && shape.every((size, axis) => size === outputShape[axis])
  if (!same)
    throw new ShapeError(`${named('out')}: expected shape ${formatShape(outputShape)}, got ${formatShape(shape)}`)
  return data
}
