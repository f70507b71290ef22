import type { AttentionSizes } from '../plan/attention-sizes.ts'
import type { BiasGradient } from '../protocol/backward-task.ts'
import type { ScoreStrides } from './broadcast.ts'

/** What tasks give for a bias of these strides. Along an axis of size 1 nothing is summed, whichever way it is read. */
export function biasGradientKind({ row, column, start }: ScoreStrides): BiasGradient {
  if (start !== undefined) return 'diagonals'
  if (column === 0) return 'rows'
  return row === 0 ? 'columns' : 'matrix'
}

/** Whether several heads or batches share a matrix, so that no head's task alone can give a part of its gradient. */
export function isSharedMatrix(
  strides: ScoreStrides,
  { batch, heads }: Pick<AttentionSizes, 'batch' | 'heads'>,
): boolean {
  return (
    biasGradientKind(strides) === 'matrix' && ((batch > 1 && strides.batch === 0) || (heads > 1 && strides.head === 0))
  )
}

/** Batches and heads of each matrix of a shared one, in the order in which they are added. */
export function sharersOf(
  strides: ScoreStrides,
  { batch, heads }: Pick<AttentionSizes, 'batch' | 'heads'>,
): { readonly batch: number; readonly head: number }[][] {
  const indices = (size: number): number[] => Array.from({ length: size }, (_, index) => index)
  const batches = strides.batch === 0 ? [indices(batch)] : indices(batch).map((b) => [b])
  const ofHeads = strides.head === 0 ? [indices(heads)] : indices(heads).map((h) => [h])
  return batches.flatMap((group) =>
    ofHeads.map((each) => group.flatMap((b) => each.map((h) => ({ batch: b, head: h })))),
  )
}

/** Bytes of the sums that tasks return, which wait until all are there. */
export function biasSumBytes(
  kind: BiasGradient,
  { batch, heads, queries, keys }: AttentionSizes,
  segments: number,
): number {
  if (kind === 'matrix') return 0
  const perHead = {
    columns: keys,
    rows: queries * segments,
    diagonals: keys + segments * Math.max(0, queries - 1),
  }
  return batch * heads * perHead[kind] * 4
}
