import { checkInteger } from '../../core/check.ts'
import { OptionError } from '../../core/errors.ts'
import type { Tensor } from '../../core/tensor.ts'
import { chunkPath } from '../jobs/attention-results.ts'
import { chunkOf, queryChunks } from '../jobs/attention-partition.ts'
import type { AttentionShape } from '../jobs/attention-shape.ts'
import type { AttentionCall } from '../jobs/job-format.ts'
import type { FleetStore } from '../store/fleet-store.ts'
import { readTensors } from '../store/results.ts'

/** How a call of a fleet went. */
export interface FleetAttentionReport {
  /** from the call to its result */
  readonly elapsedMs: number
  /** jobs of the call; 0 where the result was there already */
  readonly jobs: number
  /** M */
  readonly queryRows: number
  /** N */
  readonly keyRows: number
}

/** The result of `fleet.attention`: files in the store, one per query chunk, and a way to read rows of them. */
export interface FleetAttentionResult {
  /** of the output: the query's, with the value's last size */
  readonly shape: readonly number[]
  /** in order; each file holds `output` and `logSumExp` of rows [start, end) */
  readonly chunks: readonly {
    /** the file's first query row */
    readonly start: number
    /** one past its last query row */
    readonly end: number
    /** path in the store */
    readonly file: string
  }[]
  /** how the call went */
  readonly report: FleetAttentionReport
  /**
   * Rows [start, end) of every head.
   *
   * @param start the first row
   * @param end one past the last row
   * @returns output [..., end − start, Dv] and logSumExp [..., end − start], the caller's
   * @throws {OptionError} when the range is empty or outside; {StoreError} when a file is gone
   */
  rows(
    start: number,
    end: number,
  ): Promise<{
    /** [.., end − start, Dv] */
    readonly output: Tensor
    /** [.., end − start] */
    readonly logSumExp: Tensor
  }>
}

export function attentionResult(
  store: FleetStore,
  attention: AttentionCall,
  shape: AttentionShape,
  report: FleetAttentionReport,
): FleetAttentionResult {
  const chunks = queryChunks(shape, attention).map((rows) => ({ ...rows, file: chunkPath(attention, rows) }))
  return {
    shape: [...shape.leading, shape.queries, shape.valueSize],
    chunks,
    report,
    rows: (start, end) => readChunks(store, attention, shape, start, end),
  }
}

async function readChunks(
  store: FleetStore,
  attention: AttentionCall,
  shape: AttentionShape,
  start: number,
  end: number,
): Promise<{ output: Tensor; logSumExp: Tensor }> {
  checkInteger('rows: start', start, 0, shape.queries)
  checkInteger('rows: end', end, 0, shape.queries)
  if (start >= end) throw new OptionError(`rows: expected start < end, got ${start} and ${end}`)
  const blocks = shape.leading.reduce((product, size) => product * size, 1)
  const rows = end - start
  const output = new Float32Array(blocks * rows * shape.valueSize)
  const logSumExp = new Float32Array(blocks * rows)
  for (let chunk = Math.floor(start / attention.queryRows); chunk * attention.queryRows < end; chunk++) {
    const held = chunkOf(shape.queries, attention.queryRows, chunk)
    const part = await readTensors(store, chunkPath(attention, held), ['output', 'logSumExp'])
    const from = Math.max(start, held.start)
    const place = {
      blocks,
      count: Math.min(end, held.end) - from,
      from: from - held.start,
      of: held.end - held.start,
      to: from - start,
      rows,
    }
    copyRows(part.output.data, output, shape.valueSize, place)
    copyRows(part.logSumExp.data, logSumExp, 1, place)
  }
  return {
    output: { data: output, shape: [...shape.leading, rows, shape.valueSize] },
    logSumExp: { data: logSumExp, shape: [...shape.leading, rows] },
  }
}

/** `count` rows of each block: from row `from` of `of` rows, to row `to` of `rows`. */
interface RowCopy {
  readonly blocks: number
  readonly count: number
  readonly from: number
  readonly of: number
  readonly to: number
  readonly rows: number
}

function copyRows(
  source: Float32Array,
  target: Float32Array,
  width: number,
  { blocks, count, from, of, to, rows }: RowCopy,
): void {
  for (let block = 0; block < blocks; block++) {
    const start = (block * of + from) * width
    target.set(source.subarray(start, start + count * width), (block * rows + to) * width)
  }
}
