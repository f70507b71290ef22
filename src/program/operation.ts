import type { ResolvedOptions } from '../attention/resolve-options.ts'
import type { SeedWords } from '../core/philox.ts'
import type { Activation } from '../protocol/stage.ts'
import type { RowResultName } from '../protocol/task.ts'
import type { Parameter } from './parameter.ts'

/**
 * What a program is made of, as plain data: values, and the operations that make them. Every value is made once.
 */

/** A tensor [batch, rows, width], before its data exist. */
export interface Value {
  readonly id: number
  /** its purpose, for messages */
  readonly name: string
  readonly batch: number
  readonly rows: number
  readonly width: number
  /** null: the caller or a layer brings it */
  readonly producer: Operation | null
  /**
   * 'rows': [batch, rows, width]. 'heads': [batch, heads, rows, width / heads], where the rows of a head follow each other.
   * 'positions': [rows, width], a table by position that serves every sequence. 'tokens': Int32 [batch, rows].
   */
  readonly layout: 'rows' | 'heads' | 'positions' | 'tokens'
  /** of the layout 'heads'; else 1 */
  readonly heads: number
  /** rows that there is room for: a cache has more than are used */
  readonly capacity: number
  readonly integers: boolean
}

/** A part of a parameter: `outSize` rows of `inSize` from row `rowStart`; a vector has inSize 1. */
export interface WeightView {
  readonly parameter: Parameter
  readonly rowStart: number
  readonly outSize: number
  readonly inSize: number
  /** the product is with W instead of Wᵀ */
  readonly transposed?: true
}

/** What each kind of operation needs beside its inputs. The rules stand in operations/. */
export interface OperationTypes {
  /** [x] → x·Wᵀ + b */
  linear: { readonly weight: WeightView; readonly bias: WeightView | null }
  /** [x] → (x − mean)/√(variance + epsilon)·w + b over each row */
  norm: { readonly weight: WeightView; readonly bias: WeightView; readonly epsilon: number }
  /** [a, b] → a + b */
  add: Record<never, never>
  /** [a, b] → a ∘ b */
  multiply: Record<never, never>
  /** [x] → f(x), element by element */
  activate: { readonly activation: Activation }
  /** [x] → x where kept, times 1/(1 − p), else 0 */
  drop: { readonly probability: number; readonly seed: SeedWords; readonly site: number }
  /** [x, table] → every head turned by the angles of its position */
  rotate: { readonly headSize: number; readonly position: number }
  /** [tokens] → scale · table[token] */
  embed: { readonly table: Parameter; readonly scale: number }
  /** [table] → the table's rows from `position` on, for every sequence */
  positions: { readonly position: number }
  /** [x, cache] → the cache with the rows of x behind its first `past` ones */
  append: { readonly past: number }
  /** [x] → x, head by head in memory */
  split: Record<never, never>
  /** [query, key, value] → softmax(scale·QKᵀ + …)·V, then the results beside it */
  attend: AttendAttributes
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

/** The whole of a matrix [out, in] or a vector [out]. */
export function wholeWeight(parameter: Parameter): WeightView {
  return { parameter, rowStart: 0, outSize: parameter.shape[0] ?? 1, inSize: parameter.shape[1] ?? 1 }
}

/** Each part of a parameter once, however many operations use it. */
export function distinctWeights(views: readonly WeightView[]): WeightView[] {
  const keyOf = ({ parameter, rowStart, outSize, transposed }: WeightView): string => `${parameter.id}:${rowStart}:${outSize}:${transposed === true}`
  return [...new Map(views.map((view) => [keyOf(view), view])).values()]
}

/** Elements that there is room for. */
export function elementsOf({ layout, batch, capacity, width }: Value): number {
  if (layout === 'positions') return capacity * width
  return batch * capacity * width
}
