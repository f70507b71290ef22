import { checkBoolean, checkFinite, checkInteger, checkNames, checkOneOf, expected } from '../../core/check.ts'
import { ProtocolError } from '../../core/errors.ts'
import { version } from '../../core/version.ts'
import { checkStorePath } from '../store/fleet-store.ts'
import { checkStoredTensor, type TensorReference } from '../store/stored-tensor.ts'
import type { Partition } from './attention-partition.ts'
import type { AttentionSettings } from './attention-settings.ts'

/** Of jobs and of results. A change that gives other bits, other paths or other fields raises it. */
export const FORMAT = 1

/** A call of `fleet.attention`: everything that its bits depend on. */
export interface AttentionCall extends Partition {
  readonly query: TensorReference
  readonly key: TensorReference
  readonly value: TensorReference
  readonly settings: AttentionSettings
}

interface JobBase {
  readonly format: number
  readonly heddle: string
  /** the call that it belongs to: what a cancellation names */
  readonly call: string
}

/**
 * What travels through Redis, whole. A call's `gather` waits for one `merge` per query chunk, and that for one
 * `partial` per key range that its chunk sees. Which of those ranges a partial takes is decided by the host that runs
 * it.
 */
export type FleetJob =
  | (JobBase & { readonly kind: 'partial'; readonly attention: AttentionCall; readonly chunk: number })
  | (JobBase & { readonly kind: 'merge'; readonly attention: AttentionCall; readonly chunk: number })
  | (JobBase & { readonly kind: 'gather'; readonly attention: AttentionCall })
  | (JobBase & { readonly kind: 'embed'; readonly document: string; readonly model: string })

export type JobOfKind<Kind extends FleetJob['kind']> = Extract<FleetJob, { kind: Kind }>

/** What every job of a call starts with. */
export function jobBase(call: string): JobBase {
  return { format: FORMAT, heddle: version, call }
}

const BASE = ['format', 'heddle', 'call', 'kind']
const FIELDS: Readonly<Record<FleetJob['kind'], readonly string[]>> = {
  partial: [...BASE, 'attention', 'chunk'],
  merge: [...BASE, 'attention', 'chunk'],
  gather: [...BASE, 'attention'],
  embed: [...BASE, 'document', 'model'],
}

/**
 * Data that came out of Redis as a job. Nothing in it is trusted: anyone who can write to Redis could have put it
 * there.
 *
 * @throws {ProtocolError} when it was made by another version; {OptionError} for any other field that does not fit
 */
export function checkJob(data: unknown): FleetJob {
  const { format, heddle, kind, call } = (typeof data === 'object' && data !== null ? data : {}) as Partial<FleetJob>
  if (format !== FORMAT || heddle !== version) {
    throw new ProtocolError(
      `fleet: expected a job of heddle ${version}, format ${FORMAT}, got heddle ${String(heddle)}, format ${String(format)}`,
    )
  }
  checkOneOf('fleet: kind of a job', kind, Object.keys(FIELDS) as FleetJob['kind'][])
  checkNames(`fleet: ${kind} job`, data, FIELDS[kind])
  if (typeof call !== 'string' || !/^[\w-]{1,64}$/.test(call))
    throw expected(`fleet: call of a ${kind} job`, 'an identifier', call)
  const job = data as FleetJob
  if (job.kind === 'embed') {
    checkStorePath('fleet: document', job.document)
    checkStorePath('fleet: model', job.model)
    return job
  }
  checkAttentionCall(job.attention)
  if (job.kind !== 'gather') checkInteger('fleet: chunk', job.chunk, 0)
  return job
}

function checkAttentionCall(call: AttentionCall): void {
  checkNames('fleet: attention', call, ['query', 'key', 'value', 'settings', 'queryRows', 'keyRows'])
  for (const name of ['query', 'key', 'value'] as const) {
    checkStoredTensor(`fleet: ${name}`, call[name])
    if (typeof call[name].tag !== 'string') throw expected(`fleet: ${name}.tag`, 'a string', call[name].tag)
  }
  checkInteger('fleet: queryRows', call.queryRows, 1)
  checkInteger('fleet: keyRows', call.keyRows, 1)
  checkSettings('fleet: settings', call.settings)
}

const SETTINGS: readonly (keyof AttentionSettings)[] = [
  'causal',
  'queryOffset',
  'windowBefore',
  'windowAfter',
  'softcap',
  'scale',
  'alibiSlopes',
  'keyLengths',
]
const MAX_OFFSET = 2 ** 28

/** @throws {OptionError} for whatever no call of attention would take */
export function checkSettings(what: string, settings: unknown): asserts settings is AttentionSettings {
  checkNames(what, settings, SETTINGS)
  const { causal, queryOffset, windowBefore, windowAfter, softcap, scale } = settings as AttentionSettings
  checkBoolean(`${what}: causal`, causal)
  checkInteger(`${what}: queryOffset`, queryOffset, -MAX_OFFSET, MAX_OFFSET)
  if (windowBefore !== undefined) checkInteger(`${what}: window.before`, windowBefore, 0)
  if (windowAfter !== undefined) checkInteger(`${what}: window.after`, windowAfter, 0)
  checkFinite(`${what}: softcap`, softcap)
  if (softcap < 0) throw expected(`${what}: softcap`, 'a number ≥ 0', softcap)
  if (scale !== undefined) checkFinite(`${what}: scale`, scale)
  const { alibiSlopes = [], keyLengths = [] } = settings as AttentionSettings
  if (!Array.isArray(alibiSlopes)) throw expected(`${what}: alibiSlopes`, 'a list of numbers', alibiSlopes)
  for (const slope of alibiSlopes) checkFinite(`${what}: alibiSlopes`, slope)
  if (!Array.isArray(keyLengths)) throw expected(`${what}: keyLengths`, 'a list of integers', keyLengths)
  for (const length of keyLengths) checkInteger(`${what}: keyLengths`, length, 0)
}
