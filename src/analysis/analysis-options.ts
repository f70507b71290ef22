import type { Runtime } from '../attention/runtime.ts'
import {
  checkedSignal,
  checkBoolean,
  checkFinite,
  checkFunction,
  checkInteger,
  checkNames,
  expected,
} from '../core/check.ts'
import { OptionError, ShapeError } from '../core/errors.ts'
import { seedWords, type Seed } from '../core/seed.ts'
import type { SeedWords } from '../core/philox.ts'
import { readTensor, formatShape, type Tensor } from '../core/tensor.ts'
import { WEIGHT_OPTIONS, type WeightOptions } from '../attention/weight-options.ts'

/** Pairs of positions that belong together: a query row, and the key that it should find. */
export type PositionPair = readonly [query: number, key: number]

/** How far an analysis has come. */
export interface AnalysisProgress {
  /** calls of the runtime that are done, and how many there will be */
  readonly done: number
  /** calls in all */
  readonly total: number
  /** since the analysis began */
  readonly elapsedMs: number
}

/** What both `analyzeAttention` and `analyzeModel` take. */
export interface AnalysisOptions {
  /** @default the runtime that `attention` shares */
  readonly runtime?: Runtime
  /** An abort rejects with the signal's reason. */
  readonly signal?: AbortSignal
  /** Called after each call of the runtime. */
  readonly onProgress?: (progress: AnalysisProgress) => void
  /** Keys on each side that count as near. @default 8 */
  readonly near?: number
  /** of the random order of tokens that is a baseline. @default 0 */
  readonly seed?: Seed
  /** How many times its baselines a score must be to make a role. @default 2 */
  readonly factor?: number
  /** The mass that a role needs at least. @default 0.3 */
  readonly share?: number
  /** The sequence of the batch that heatmaps, received attention, relations and rollout are about. @default 0 */
  readonly sequence?: number
  /** The text of each position of that sequence, for axes. */
  readonly labels?: readonly string[]
  /** Buckets per side of a heatmap, at most 512; 0 leaves heatmaps out. @default 64 */
  readonly heatmapSize?: number
  /**
   * Rows on which heads are compared, evenly spaced; 0 leaves that out. @default 16, or as many as keep it under a
   * second
   */
  readonly divergenceRows?: number
  /** [B, M] or [M]: query rows whose entry is 0, such as padding, do not count in scores. @default all rows count */
  readonly queryMask?: Tensor<Uint8Array>
  /** Whether to measure how much attention each key receives. @default true */
  readonly received?: boolean
  /** Pairs of positions by the name of what relates them. Memory: distinct query rows × heads × keys. */
  readonly relations?: Readonly<Record<string, readonly PositionPair[]>>
}

export const ANALYSIS_NAMES: readonly (keyof AnalysisOptions)[] = [
  'runtime',
  'signal',
  'onProgress',
  'near',
  'seed',
  'factor',
  'share',
  'sequence',
  'labels',
  'heatmapSize',
  'divergenceRows',
  'queryMask',
  'received',
  'relations',
]

export interface ResolvedAnalysis {
  readonly signal: AbortSignal | undefined
  readonly onProgress: AnalysisOptions['onProgress']
  readonly near: number
  readonly seed: SeedWords
  readonly rule: { readonly factor: number; readonly share: number }
  readonly sequence: number
  readonly labels: readonly string[] | null
  readonly heatmapSize: number
  readonly divergenceRows: number | null
  readonly queryMask: Uint8Array | null
  readonly received: boolean
  readonly relations: readonly { readonly name: string; readonly pairs: readonly PositionPair[] }[]
}

/** What inputs and options must fit. */
export interface AnalyzedSizes {
  readonly batch: number
  readonly queries: number
  readonly keys: number
}

export const WEIGHT_NAMES: readonly (keyof WeightOptions)[] = [...WEIGHT_OPTIONS, 'heads', 'keyValueHeads']

/** Past it a heatmap is a picture that nobody can look at. */
const LARGEST_HEATMAP = 512

/** @throws {OptionError} where a value has a wrong type or does not fit the sizes */
export function resolveAnalysis(what: string, options: AnalysisOptions, sizes: AnalyzedSizes): ResolvedAnalysis {
  const named = (name: string): string => `${what}: option ${name}`
  const {
    near = 8,
    seed = 0,
    factor = 2,
    share = 0.3,
    sequence = 0,
    labels,
    heatmapSize = 64,
    divergenceRows,
    received = true,
    runtime,
    onProgress,
  } = options
  checkInteger(named('near'), near, 0, 2 ** 28)
  checkFinite(named('factor'), factor)
  if (factor < 1) throw expected(named('factor'), 'a number ≥ 1', factor)
  if (typeof share !== 'number' || !(share >= 0 && share <= 1))
    throw expected(named('share'), 'a number from 0 to 1', share)
  checkInteger(named('sequence'), sequence, 0, sizes.batch - 1)
  checkInteger(named('heatmapSize'), heatmapSize, 0, LARGEST_HEATMAP)
  if (divergenceRows !== undefined) checkInteger(named('divergenceRows'), divergenceRows, 0)
  checkBoolean(named('received'), received)
  if (onProgress !== undefined) checkFunction(named('onProgress'), onProgress)
  if (runtime !== undefined && typeof (runtime as Partial<Runtime> | null)?.attention !== 'function')
    throw expected(named('runtime'), 'a runtime made by createRuntime', runtime)
  return {
    ...{ near, sequence, heatmapSize, received, onProgress, rule: { factor, share } },
    signal: checkedSignal(named('signal'), options.signal),
    seed: seedWords(named('seed'), seed),
    divergenceRows: divergenceRows ?? null,
    queryMask: options.queryMask === undefined ? null : checkQueryMask(named('queryMask'), options.queryMask, sizes),
    labels: labels === undefined ? null : checkLabels(named('labels'), labels, sizes.keys),
    relations: resolveRelations(named('relations'), options.relations ?? {}, sizes),
  }
}

function checkQueryMask(what: string, mask: Tensor<Uint8Array>, { batch, queries }: AnalyzedSizes): Uint8Array {
  const { data, shape } = readTensor(what, Uint8Array, mask)
  const fits =
    shape.length === 2
      ? shape[0] === batch && shape[1] === queries
      : shape.length === 1 && batch === 1 && shape[0] === queries
  if (!fits) throw new ShapeError(`${what}: expected shape ${formatShape([batch, queries])}, got ${formatShape(shape)}`)
  return data
}

function checkLabels(what: string, labels: unknown, keys: number): readonly string[] {
  if (!Array.isArray(labels) || labels.length !== keys || labels.some((label) => typeof label !== 'string')) {
    throw expected(
      what,
      `${keys} strings, one per key`,
      Array.isArray(labels) && labels.length === keys ? labels.find((label) => typeof label !== 'string') : labels,
    )
  }
  return labels as string[]
}

function resolveRelations(what: string, relations: unknown, sizes: AnalyzedSizes): ResolvedAnalysis['relations'] {
  const own = checkNames(what, relations, Object.keys((relations as object | null) ?? {}))
  return Object.entries(own).map(([name, pairs]) => ({ name, pairs: checkPairs(`${what}.${name}`, pairs, sizes) }))
}

function checkPairs(what: string, pairs: unknown, { queries, keys }: AnalyzedSizes): readonly PositionPair[] {
  if (!Array.isArray(pairs) || pairs.length === 0) throw expected(what, 'a list of pairs [query, key]', pairs)
  for (const [index, pair] of (pairs as unknown[]).entries()) {
    if (!Array.isArray(pair) || pair.length !== 2) throw expected(`${what}[${index}]`, 'a pair [query, key]', pair)
    for (const [side, size] of [
      [0, queries],
      [1, keys],
    ] as const) {
      const position: unknown = pair[side]
      if (typeof position === 'number' && Number.isSafeInteger(position) && position >= 0 && position < size) continue
      throw new OptionError(
        `${what}[${index}]: expected ${side === 0 ? 'a query' : 'a key'} from 0 to ${size - 1}, got ${String(position)}`,
      )
    }
  }
  return pairs as PositionPair[]
}
