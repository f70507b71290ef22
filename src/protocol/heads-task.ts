import { headTask, type HeadInputs, type HeadRows } from './head-inputs.ts'
import { ofHead, type MovingHeads } from './moving-slice.ts'
import { RETURNED_ARRAYS } from './task.ts'
import type { AttentionTask, AttentionTaskResult, Destination, ReturnedName, TaskArray } from './task.ts'

/** A result of every head: in place, or dense with the answer. */
export interface HeadResult {
  readonly name: ReturnedName
  /** elements per query row */
  readonly columns: number
  readonly to: MovingHeads | 'returned'
}

/**
 * Attention of all rows of many small heads: those with b·H + h from `first` on. What they have in common crosses
 * threads once, and the lane makes their tasks.
 */
export interface AttentionHeadsTask {
  readonly kind: 'attention-heads'
  readonly inputs: HeadInputs
  readonly results: readonly HeadResult[]
  /** M */
  readonly rows: number
  readonly first: number
  readonly count: number
}

export interface AttentionHeadsResult {
  /** [count, rows, columns] of each result that is `returned`, in their order */
  readonly returned: readonly TaskArray[]
  readonly elapsedMs: number
  readonly tiles: number
  readonly skippedTiles: number
}

/** The task of each head. The id of the i-th returned array is −1 − i. */
export function tasksOfHeads({ inputs, results, rows, first, count }: AttentionHeadsTask): AttentionTask[] {
  return Array.from({ length: count }, (_, index) => {
    const { batch, head } = headAt(first + index, inputs.heads)
    const run = { batch, row: 0, rows }
    const places = destinationsOf(results, head, run, ({ columns }, place) => ({
      array: -1 - place,
      offset: index * rows * columns,
      rowStride: columns,
    }))
    return { ...headTask(inputs, head, run), ...places }
  })
}

/** What the task of one of the heads would have returned. */
export function resultOfHead(
  { results, rows, count }: AttentionHeadsTask,
  { returned, elapsedMs, tiles, skippedTiles }: AttentionHeadsResult,
  index: number,
): AttentionTaskResult {
  const names = results.filter(({ to }) => to === 'returned')
  const parts = names.map(({ name, columns }, place) => [
    name,
    returned[place]?.subarray(index * rows * columns, (index + 1) * rows * columns),
  ])
  return {
    ...(Object.fromEntries(parts) as Pick<AttentionTaskResult, ReturnedName>),
    elapsedMs: elapsedMs / count,
    tiles: index === 0 ? tiles : 0,
    skippedTiles: index === 0 ? skippedTiles : 0,
  }
}

export function headAt(batchHead: number, heads: number): { readonly batch: number; readonly head: number } {
  return { batch: Math.floor(batchHead / heads), head: batchHead % heads }
}

/** Where the results of one head go. @param returned the place of the i-th result that is returned */
export function destinationsOf(
  results: readonly HeadResult[],
  head: number,
  run: HeadRows,
  returned: (result: HeadResult, index: number) => Destination,
): Pick<AttentionTask, ReturnedName> {
  const places: { -readonly [Name in ReturnedName]?: Destination } = {}
  let count = 0
  for (const result of results)
    places[result.name] = result.to === 'returned' ? returned(result, count++) : ofHead(result.to, head, run)
  return { ...places, output: places.output ?? true }
}

/** The arrays that go back with a task: their class and their elements. */
export function returnedOfHeads({
  results,
  rows,
  count,
}: Pick<AttentionHeadsTask, 'results' | 'rows' | 'count'>): { readonly kind: string; readonly length: number }[] {
  return results
    .filter(({ to }) => to === 'returned')
    .map(({ name, columns }) => ({ kind: RETURNED_ARRAYS[name], length: count * rows * columns }))
}
