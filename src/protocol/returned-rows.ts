import type { Chunk } from './chunk.ts'
import type { AttentionTemplate, StageTemplate } from './stage-template.ts'
import type { RowRun, RowStageAttention } from './stage.ts'

/** The chosen rows among those of a run: their places in it, and how many stand before them. */
export function chosenOf(
  chosen: readonly number[],
  { row, rows }: Pick<RowRun, 'row' | 'rows'>,
): { first: number; rows: Int32Array } {
  const first = chosen.findIndex((each) => each >= row)
  const inside = chosen.filter((each) => each >= row && each < row + rows)
  return { first: Math.max(0, first), rows: Int32Array.from(inside, (each) => each - row) }
}

/** What the lane makes for the results that go back; a chunk whose results return never crosses sequences. */
export function returnedArrays(
  { results, heads, chosen }: AttentionTemplate,
  chunk: Chunk,
): RowStageAttention['returned'] {
  return results
    .filter(({ to }) => to === 'returned')
    .map(({ name, columns }) => {
      const rows =
        name === 'weights' && chosen !== null
          ? chosen.heads.length * chosenOf(chosen.rows, { row: chunk.rowStart, rows: chunk.rows }).rows.length
          : heads * chunk.rows
      return { length: rows * columns, integers: name === 'maxIndex' }
    })
}

/** The arrays that go back with a chunk: those of attention's results, then one per step that returns rows. */
export function returnedRows(
  { attention, steps, registers }: StageTemplate,
  chunk: Chunk,
): RowStageAttention['returned'] {
  const stored = steps.filter((step) => (step.op === 'store' || step.op === 'store-heads') && step.to === 'returned')
  return [
    ...(attention === null ? [] : returnedArrays(attention, chunk)),
    ...stored.map((step) => ({
      length: chunk.rows * ('from' in step && typeof step.from === 'number' ? (registers[step.from] ?? 0) : 0),
      integers: false,
    })),
  ]
}
