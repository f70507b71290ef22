import { Probe } from '../../analysis/index.ts'
import type { Runtime } from '../../index.ts'
import type { Batch } from '../../train/index.ts'
import type { PreparedTask } from './tasks/prepared-task.ts'

/** Positions that a heatmap of a record keeps one by one; longer sequences are pooled. */
const LONGEST_EXACT = 128
const POOLED = 64

/** Measures the first held-out batch again and again; heatmaps are of its first sequence. */
export function headProbe(
  every: number,
  { validation, pieces }: PreparedTask,
  runtime: Runtime,
  signal: AbortSignal,
): Probe {
  const batch = validation[0] as Batch
  const { tokens } = batch
  const length = tokens?.shape.at(-1) ?? 0
  const labels = Array.from(tokens?.data.subarray(0, length) ?? [], (token) => pieces?.[token] ?? String(token))
  return new Probe({
    ...{ every, batch, runtime, signal },
    ...(labels.length === 0 ? {} : { labels }),
    heatmapSize: length <= LONGEST_EXACT ? length : POOLED,
  })
}
