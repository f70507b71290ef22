import type { ResolvedOptions } from '../attention/resolve-options.ts'
import { ceilDivide, roundUp } from '../core/integers.ts'
import type { SeedWords } from '../core/philox.ts'
import { STAGE_TILE_ROWS } from '../plan/stage-arena.ts'
import type { KeySegment } from '../plan/key-segments.ts'
import type { Activation, CrossEntropyRule } from '../protocol/stage.ts'
import type { RowResultName } from '../protocol/task.ts'
import type { Parameter } from './parameter.ts'

/**
 * What a program is made of, as plain data: values, and the operations that make them. Every value is made once.
 */

/** A tensor [batch, rows, width], before its data exist. */
export interface Value {
  /** never used twice in a graph */
  readonly id: number
  /** its purpose, for messages */
  readonly name: string
  /** B */
  readonly batch: number
  /** M */
  readonly rows: number
  /** elements per row */
  readonly width: number
  /** null: the caller or a layer brings it */
  readonly producer: Operation | null
  /**
   * 'rows': [batch, rows, width]. 'heads': [batch, heads, rows, width / heads], where the rows of a head follow each
   * other. 'positions': [rows, width], a table by position that serves every sequence. 'tokens': Int32 [batch, rows].
   * 'parameter': the gradient of a parameter, as the parameter itself. Of a slab's rows: 'panels' and 'quads', in
   * panels of 8 and 4 columns, and 'tiles', one row per tile of 64.
   */
  readonly layout: 'rows' | 'heads' | 'positions' | 'tokens' | 'parameter' | 'panels' | 'quads' | 'tiles'
  /** of the layout 'heads'; else 1 */
  readonly heads: number
  /** rows that there is room for: a cache has more than are used */
  readonly capacity: number
  /** whether the elements are Int32 rather than Float32 */
  readonly integers: boolean
  /** how many tensors of this shape it is the sum of, one after the other in memory */
  readonly slots: number
}

/** A part of a parameter: `outSize` rows of `inSize` from row `rowStart`; a vector has inSize 1. */
export interface WeightView {
  /** the parameter */
  readonly parameter: Parameter
  /** first row of the part */
  readonly rowStart: number
  /** rows of the part: elements of an output row */
  readonly outSize: number
  /** elements per row: elements of an input row */
  readonly inSize: number
  /** the product is with W instead of Wᵀ */
  readonly transposed?: true
}

/** What each kind of operation needs beside its inputs. The rules stand in operations/. */
export interface OperationTypes {
  /** [x] → x·Wᵀ + b */
  linear: { readonly weight: WeightView; readonly bias: WeightView | null }
  /** [x] → (x − mean)/√(variance + epsilon)·w + b over each row */
  norm: { readonly weight: WeightView; readonly bias: WeightView | null; readonly epsilon: number }
  /** [x] → x/√(mean(x²) + epsilon)·w over each row */
  'rms-norm': { readonly weight: WeightView; readonly epsilon: number }
  /** [x] → x/√(mean(x²) + epsilon)·w over each head of a row; null: w is 1 */
  'rms-norm-heads': { readonly headSize: number; readonly weight: WeightView | null; readonly epsilon: number }
  /** [x] → the sum of the `groups` equal parts of each row */
  fold: { readonly groups: number }
  /** [a, b] → a + b */
  add: Record<never, never>
  /** [a, b] → a ∘ b */
  multiply: Record<never, never>
  /** [x] → f(x), element by element */
  activate: { readonly activation: Activation }
  /** [x] → x where kept, times 1/(1 − p), else 0 */
  drop: { readonly probability: number; readonly seed: SeedWords; readonly site: number }
  /**
   * [x, table] → every head turned by the angles of its position, or back; `position` is 0 where the table has a row
   * per row of x
   */
  rotate: { readonly headSize: number; readonly turned: number; readonly position: number; readonly back: boolean }
  /** [tokens] → scale · table[token] */
  embed: { readonly table: Parameter; readonly scale: number }
  /** [table] → the table's rows from `position` on, for every sequence; `parameter` where the table is learned */
  positions: { readonly position: number; readonly parameter: Parameter | null }
  /**
   * [x, cache] → the cache with the rows of x behind its first `past` ones: one entry per sequence, or a single entry
   * for all of them
   */
  append: { readonly past: readonly number[] }
  /** [x] → x, head by head in memory */
  split: Record<never, never>
  /** [query, key, value] → softmax(scale·QKᵀ + …)·V, then the results beside it */
  attend: AttendAttributes
  /** [query, key, value, context, logSumExp, dContext] → dQuery, dKey, dValue */
  'attend-backward': { readonly forward: AttendAttributes; readonly segments: readonly (readonly KeySegment[])[] }
  /** [x, segments] → the largest of each column over the rows of each segment, the index of the row that holds it */
  'max-rows': Record<never, never>
  /** [dLargest, places, segments] → dx of `max-rows` */
  'max-rows-backward': Record<never, never>
  /** [logits, targets] → the loss of each row, its log-sum-exp; `factor` is a row's weight in the whole loss */
  'cross-entropy': { readonly rule: CrossEntropyRule; readonly factor: number }
  /** [logits, targets, logSumExp] → dLogits */
  'cross-entropy-backward': { readonly rule: CrossEntropyRule; readonly factor: number }
  /** [x, y] → Σ_c (x_c − y_c)² of each row; `factor` is a row's weight in the whole loss */
  'squared-error': { readonly factor: number }
  /** [a, b] → a − b */
  subtract: Record<never, never>
  /** [x] → factor·x */
  scale: { readonly factor: number }
  /** [x] → (x − mean)/√(variance + epsilon) */
  normalise: { readonly epsilon: number }
  /** [x, dy] → dx of `norm` */
  'norm-backward': { readonly weight: WeightView; readonly epsilon: number }
  /** [x] → x/√(mean(x²) + epsilon) */
  'rms-normalise': { readonly epsilon: number }
  /** [x, dy] → dx of `rms-norm` */
  'rms-norm-backward': { readonly weight: WeightView; readonly epsilon: number }
  /** [x, dy] → dy ∘ f′(x) */
  'activate-backward': { readonly activation: Activation }
  /** [dy, x]: adds Σ dyᵀ·x over all rows to the gradient of the weight */
  'sum-outer': { readonly weight: WeightView; readonly gradient: Value }
  /** [dy]: adds the sum of all rows to the gradient of the vector */
  'sum-rows': { readonly weight: WeightView; readonly gradient: Value }
  /** [dy, tokens], or [dy] by position: adds scale·dy to the rows of the table that were looked up */
  'sum-table': {
    readonly table: Parameter
    readonly gradient: Value
    readonly scale: number
    readonly position: number
  }
}

export interface AttendAttributes {
  readonly options: ResolvedOptions
  readonly heads: number
  readonly keyHeads: number
  /** N */
  readonly keys: number
  readonly headSize: number
  readonly valueSize: number
  /** what the outputs behind the first one are */
  readonly results: readonly (RowResultName | 'weights')[]
}

export type OperationKind = keyof OperationTypes

export interface Operation<K extends OperationKind = OperationKind> {
  readonly kind: K
  readonly inputs: readonly Value[]
  readonly outputs: readonly Value[]
  readonly attributes: OperationTypes[K]
  /** the path of the layer that it belongs to */
  readonly scope: string
  /** the block that it belongs to, counted from 1; 0: none */
  readonly region: number
}

/** An operation whose kind is known. */
export function isKind<K extends OperationKind>(operation: Operation | null, kind: K): operation is Operation<K> {
  return operation?.kind === kind
}

/**
 * The whole of a matrix [out, in] or a vector [out].
 *
 * @param parameter [out, in] or [out]
 */
export function wholeWeight(parameter: Parameter): WeightView {
  return { parameter, rowStart: 0, outSize: parameter.shape[0] ?? 1, inSize: parameter.shape[1] ?? 1 }
}

/** Each part of a parameter once, however many operations use it. */
export function distinctWeights(views: readonly WeightView[]): WeightView[] {
  const keyOf = ({ parameter, rowStart, outSize, transposed }: WeightView): string =>
    `${parameter.id}:${rowStart}:${outSize}:${transposed === true}`
  return [...new Map(views.map((view) => [keyOf(view), view])).values()]
}

/** Elements that there is room for. */
export function elementsOf({ layout, batch, capacity, width, slots }: Value): number {
  switch (layout) {
    case 'positions':
    case 'parameter':
      return capacity * width
    case 'panels':
      return capacity * roundUp(width, 8)
    case 'quads':
      return capacity * roundUp(width, 4)
    case 'tiles':
      return ceilDivide(capacity, STAGE_TILE_ROWS) * width
    default:
      return slots * batch * capacity * width
  }
}

/** Whether the value holds rows of a slab: the program makes it, without an operation. */
export function isSlab({ layout }: Value): boolean {
  return layout === 'panels' || layout === 'quads' || layout === 'tiles'
}
