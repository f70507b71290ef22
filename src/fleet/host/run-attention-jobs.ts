import { mergePartials, type Partial } from '../../attention/merge-partials.ts'
import type { AttentionOptions } from '../../attention/attention-options.ts'
import { throwIfAborted } from '../../core/abort.ts'
import { checkInteger } from '../../core/check.ts'
import { StoreError } from '../../core/errors.ts'
import { chunkOf, keyRangesOf, queryChunks } from '../jobs/attention-partition.ts'
import { attentionShape, checkSettingsFit, type AttentionShape } from '../jobs/attention-shape.ts'
import { chunkPath, manifestPath, partialPath } from '../jobs/attention-results.ts'
import type { AttentionSettings } from '../jobs/attention-settings.ts'
import type { AttentionCall, JobOfKind } from '../jobs/job-format.ts'
import { exists, readTensors, writeTensors } from '../store/results.ts'
import { readRows, type OpenTensor, type RowRange } from '../store/stored-tensor.ts'
import { SKIPPED, type HostContext, type JobOutcome } from './host-context.ts'

interface OpenCall {
  readonly attention: AttentionCall
  readonly shape: AttentionShape
  readonly query: OpenTensor
  readonly key: OpenTensor
  readonly value: OpenTensor
}

/** Attention of one query chunk over one of the key ranges that it sees, with its log-sum-exp. */
export async function runPartial(
  host: HostContext,
  job: JobOfKind<'partial'>,
  id: string,
  signal: AbortSignal,
): Promise<JobOutcome> {
  const call = await openCall(host, job.attention, signal)
  const rows = rowsOf(call, job.chunk)
  if (await exists(host.store, chunkPath(job.attention, rows))) return SKIPPED
  const ranges = rangesOf(call, rows)
  const holds = (range: RowRange): boolean =>
    host.tensors.holds(call.key, range) && host.tensors.holds(call.value, range)
  const range = await host.claim({ call: job.call, chunk: job.chunk, job: id, ranges, holds })
  if (range === undefined || (await exists(host.store, partialPath(job.attention, rows, range)))) return SKIPPED
  const partial = await computePartial(host, call, rows, range, signal)
  await writeTensors(host.store, partialPath(job.attention, rows, range), { ...partial })
  return { skipped: false, tokens: 0 }
}

/** A query chunk's partials, added in key order. One that is missing from the store is computed here. */
export async function runMerge(host: HostContext, job: JobOfKind<'merge'>, signal: AbortSignal): Promise<JobOutcome> {
  const call = await openCall(host, job.attention, signal)
  const rows = rowsOf(call, job.chunk)
  const ranges = rangesOf(call, rows)
  const path = chunkPath(job.attention, rows)
  const isDone = await exists(host.store, path)
  if (!isDone) {
    const partials: Partial[] = []
    for (const range of ranges) partials.push(await partialOf(host, call, rows, range, signal))
    throwIfAborted(signal)
    await writeTensors(host.store, path, { ...mergePartials(partials) })
  }
  await Promise.all(ranges.map((range) => host.store.remove(partialPath(job.attention, rows, range))))
  return isDone ? SKIPPED : { skipped: false, tokens: call.shape.batch * (rows.end - rows.start) }
}

/** Writes the list of a call's chunks when all of them are there. */
export async function runGather(host: HostContext, job: JobOfKind<'gather'>, signal: AbortSignal): Promise<JobOutcome> {
  const { shape, attention } = await openCall(host, job.attention, signal)
  const path = manifestPath(attention)
  if (await exists(host.store, path)) return SKIPPED
  const files = queryChunks(shape, attention).map((rows) => chunkPath(attention, rows))
  const found = await Promise.all(files.map((file) => exists(host.store, file)))
  const missing = files.filter((_, index) => found[index] === false)
  if (missing.length > 0)
    throw new StoreError(
      `store: expected all ${files.length} chunks of the call, but ${missing.length} are missing, ${missing[0]} first`,
    )
  await host.store.write(path, new TextEncoder().encode(JSON.stringify({ attention, shape, files })))
  return { skipped: false, tokens: 0 }
}

async function openCall({ tensors }: HostContext, attention: AttentionCall, signal: AbortSignal): Promise<OpenCall> {
  const { query: q, key: k, value: v } = attention
  const [query, key, value] = await Promise.all([
    tensors.open(q, signal),
    tensors.open(k, signal),
    tensors.open(v, signal),
  ])
  const shape = attentionShape({ query: query.shape, key: key.shape, value: value.shape })
  checkSettingsFit(shape, attention.settings)
  return { attention, query, key, value, shape }
}

function rowsOf({ shape, attention }: OpenCall, chunk: number): RowRange {
  checkInteger('fleet: chunk', chunk, 0, Math.ceil(shape.queries / attention.queryRows) - 1)
  return chunkOf(shape.queries, attention.queryRows, chunk)
}

function rangesOf({ shape, attention }: OpenCall, rows: RowRange): RowRange[] {
  return keyRangesOf(shape, attention, rows, attention.settings)
}

async function partialOf(
  host: HostContext,
  call: OpenCall,
  rows: RowRange,
  range: RowRange,
  signal: AbortSignal,
): Promise<Partial> {
  const path = partialPath(call.attention, rows, range)
  if (await exists(host.store, path)) return readTensors(host.store, path, ['output', 'logSumExp'], signal)
  return computePartial(host, call, rows, range, signal)
}

async function computePartial(
  host: HostContext,
  call: OpenCall,
  rows: RowRange,
  range: RowRange,
  signal: AbortSignal,
): Promise<Partial> {
  const [query, key, value] = await Promise.all([
    readRows(host.store, call.query, rows, signal),
    host.tensors.rows(call.key, range, signal),
    host.tensors.rows(call.value, range, signal),
  ])
  const options = { ...optionsOf(call.attention.settings, rows, range), signal, returnLogSumExp: true }
  const { output, logSumExp } = await host.runtime.attention({ query, key, value }, options)
  return { output, logSumExp: logSumExp as Partial['logSumExp'] }
}

/** The options of a call for some of its rows and keys: positions count from where these begin. */
function optionsOf(settings: AttentionSettings, rows: RowRange, range: RowRange): AttentionOptions {
  const { causal, queryOffset, windowBefore, windowAfter, softcap, scale, alibiSlopes, keyLengths } = settings
  const keysInRange = (length: number): number => Math.max(0, Math.min(length, range.end) - range.start)
  return {
    causal,
    queryOffset: queryOffset + rows.start - range.start,
    window: {
      ...(windowBefore !== undefined && { before: windowBefore }),
      ...(windowAfter !== undefined && { after: windowAfter }),
    },
    softcap,
    ...(scale !== undefined && { scale }),
    ...(alibiSlopes !== undefined && { alibiSlopes: Float32Array.from(alibiSlopes) }),
    ...(keyLengths !== undefined && { keyLengths: Int32Array.from(keyLengths, keysInRange) }),
  }
}
