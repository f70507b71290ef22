import { randomUUID } from 'node:crypto'
import type { Job } from 'bullmq'
import { attentionFlow } from '../jobs/attention-flow.ts'
import { checkJobCount, defaultPartition, keyRangesOf, queryChunks } from '../jobs/attention-partition.ts'
import { chunkPath, manifestPath } from '../jobs/attention-results.ts'
import { attentionShape, checkSettingsFit, type AttentionShape } from '../jobs/attention-shape.ts'
import type { AttentionCall } from '../jobs/job-format.ts'
import { announceCancellation, removeJobs } from '../queue/cancellation.ts'
import type { FleetStore } from '../store/fleet-store.ts'
import { exists } from '../store/results.ts'
import { openTensor, referTo, type OpenTensor, type StoredTensor } from '../store/stored-tensor.ts'
import type { AttentionRequest } from './attention-request.ts'
import { attentionResult, type FleetAttentionResult } from './fleet-attention-result.ts'
import type { FleetConnectionParts } from './fleet-connection.ts'
import { settle } from './settle.ts'

/** What a call of a fleet works with. */
export interface Asking {
  readonly parts: FleetConnectionParts
  readonly store: FleetStore
  /** what goes on after a call has settled, for `close` to wait for */
  readonly inBackground: (work: Promise<unknown>) => void
}

interface PreparedCall {
  readonly attention: AttentionCall
  readonly shape: AttentionShape
}

/** Checks the stored tensors, puts the call's jobs into the queue, and waits for the last of them. */
export async function runAttention(asking: Asking, request: AttentionRequest): Promise<FleetAttentionResult> {
  const { parts, store } = asking
  const startMs = performance.now()
  const { attention, shape } = await settle(prepare(store, request), request.signal, parts.ended)
  const { queryRows, keyRows } = attention
  const finish = (jobs: number): FleetAttentionResult =>
    attentionResult(store, attention, shape, { jobs, queryRows, keyRows, elapsedMs: performance.now() - startMs })
  if (await settle(isThere(store, attention, shape), request.signal, parts.ended)) return finish(0)
  const call = randomUUID()
  const flow = attentionFlow(parts.queue.name, call, attention, shape)
  const { job } = await settle(parts.flows.add(flow), parts.ended)
  const stopProgress = reportProgress(request, job, shape, queryRows)
  try {
    await settle(parts.watcher.wait(call), request.signal, parts.ended)
    stopProgress(true)
  } catch (error) {
    // Neither an abort nor a failed job leaves work behind that nobody waits for.
    if (!parts.ended.aborted) asking.inBackground(drop(parts, job, call))
    throw error
  } finally {
    parts.watcher.forget(call)
    stopProgress(false)
  }
  return finish(jobCount(shape, attention))
}

async function prepare(store: FleetStore, { inputs, settings, partition }: AttentionRequest): Promise<PreparedCall> {
  const [query, key, value] = await Promise.all([
    lookAt(store, inputs.query),
    lookAt(store, inputs.key),
    lookAt(store, inputs.value),
  ])
  const shape = attentionShape({ query: query.shape, key: key.shape, value: value.shape })
  checkSettingsFit(shape, settings)
  const references = { query: query.reference, key: key.reference, value: value.reference }
  const defaults = defaultPartition(shape)
  const attention = {
    ...references,
    settings,
    queryRows: partition.queryRows ?? defaults.queryRows,
    keyRows: partition.keyRows ?? defaults.keyRows,
  }
  checkJobCount(shape, attention)
  return { attention, shape }
}

async function lookAt(store: FleetStore, tensor: StoredTensor): Promise<OpenTensor> {
  return openTensor(store, await referTo(store, tensor))
}

/** Whether an earlier call has left the whole result. */
async function isThere(store: FleetStore, attention: AttentionCall, shape: AttentionShape): Promise<boolean> {
  if (!(await exists(store, manifestPath(attention)))) return false
  const chunks = await Promise.all(
    queryChunks(shape, attention).map((rows) => exists(store, chunkPath(attention, rows))),
  )
  return chunks.every((there) => there)
}

function jobCount(shape: AttentionShape, attention: AttentionCall): number {
  return queryChunks(shape, attention).reduce(
    (sum, rows) => sum + 1 + keyRangesOf(shape, attention, rows, attention.settings).length,
    1,
  )
}

async function drop({ redis, keys }: FleetConnectionParts, root: Job, call: string): Promise<void> {
  await announceCancellation(redis, keys, call)
  await removeJobs(root)
}

const PROGRESS_EVERY_MS = 1000

/** @returns what ends the reports, with a last one where the call has ended well */
function reportProgress(
  { onProgress }: AttentionRequest,
  root: Job,
  { queries }: AttentionShape,
  queryRows: number,
): (complete: boolean) => void {
  if (onProgress === undefined) return () => undefined
  const startMs = performance.now()
  const total = Math.ceil(queries / queryRows)
  let reported = -1
  const report = (done: number): void => {
    if (done <= reported) return
    reported = done
    onProgress({ done, total, elapsedMs: performance.now() - startMs })
  }
  const look = (): Promise<void> =>
    root.getDependenciesCount({ processed: true }).then(
      ({ processed = 0 }) => report(processed),
      () => undefined,
    )
  const timer = setInterval(() => void look(), PROGRESS_EVERY_MS)
  return (complete) => {
    clearInterval(timer)
    if (complete) report(total)
  }
}
