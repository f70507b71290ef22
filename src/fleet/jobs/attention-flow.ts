import type { FlowJob, FlowParentJob, JobsOptions } from 'bullmq'
import { chunkOf, keyRangesOf, queryChunks } from './attention-partition.ts'
import type { AttentionShape } from './attention-shape.ts'
import { jobBase, type AttentionCall, type FleetJob } from './job-format.ts'
import { JOB_OPTIONS } from './job-options.ts'

/** The first failure of a job fails what waits for it, up to the call. */
const CHILD: JobsOptions = { ...JOB_OPTIONS, failParentOnFailure: true }

/**
 * The jobs of a call as one BullMQ flow, which Redis takes whole or not at all: partials below merges below one gather.
 * Partials stand in the order of their chunks, so that a chunk is merged, and its partials go, while later ones wait.
 */
export function attentionFlow(
  queueName: string,
  call: string,
  attention: AttentionCall,
  shape: AttentionShape,
): FlowJob {
  const node = (job: FleetJob): { name: string; queueName: string; data: FleetJob } => ({
    name: job.kind,
    queueName,
    data: job,
  })
  const merge = (chunk: number): FlowParentJob => {
    const rows = chunkOf(shape.queries, attention.queryRows, chunk)
    const ranges = keyRangesOf(shape, attention, rows, attention.settings)
    return {
      ...node({ ...jobBase(call), kind: 'merge', attention, chunk }),
      opts: CHILD,
      children: ranges.map(() => ({ ...node({ ...jobBase(call), kind: 'partial', attention, chunk }), opts: CHILD })),
    }
  }
  return {
    ...node({ ...jobBase(call), kind: 'gather', attention }),
    opts: { ...JOB_OPTIONS, jobId: call },
    children: queryChunks(shape, attention).map((_, chunk) => merge(chunk)),
  }
}
