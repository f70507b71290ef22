import { checkBoolean, checkedSignal, checkFunction, checkInteger, checkNames, expected } from '../../core/check.ts'
import { asInt32 } from '../../core/integer-arrays.ts'
import type { AttentionOptions } from '../../attention/attention-options.ts'
import type { Partition } from '../jobs/attention-partition.ts'
import type { AttentionSettings } from '../jobs/attention-settings.ts'
import { checkSettings } from '../jobs/job-format.ts'
import { checkStoredTensor, type StoredTensor } from '../store/stored-tensor.ts'

/**
 * Stored tensors: query [M, D], [B, M, D] or [B, H, M, D]; key and value with N rows, and Hkv heads. Floats of any
 * width.
 */
export interface FleetAttentionInputs {
  /** [.., M, D] */
  readonly query: StoredTensor
  /** [.., N, D] */
  readonly key: StoredTensor
  /** [.., N, Dv] */
  readonly value: StoredTensor
}

/** The options of `attention` that make sense over key ranges on several hosts, and how the call is cut. */
export interface FleetAttentionOptions extends Pick<
  AttentionOptions,
  'causal' | 'window' | 'softcap' | 'scale' | 'alibiSlopes' | 'keyLengths' | 'signal'
> {
  /** Position of query 0 among the keys. @default 0 */
  readonly queryOffset?: number
  /** Query rows per job. It does not change bits. @default 4,096 over all heads */
  readonly queryRows?: number
  /**
   * Keys per job. It decides where partial sums end, so other values can change the last bits. @default up to 65,536,
   * in 64 MiB
   */
  readonly keyRows?: number
  /** Called whenever a job of the call has ended, about once per second at most. */
  readonly onProgress?: (progress: FleetProgress) => void
}

/** How far a call of a fleet has come. */
export interface FleetProgress {
  /** query chunks that are merged, and all of them */
  readonly done: number
  /** query chunks in all */
  readonly total: number
  /** since the call began */
  readonly elapsedMs: number
}

export interface AttentionRequest {
  readonly inputs: FleetAttentionInputs
  readonly settings: AttentionSettings
  readonly partition: { readonly [Name in keyof Partition]: number | undefined }
  readonly signal: AbortSignal | undefined
  readonly onProgress: ((progress: FleetProgress) => void) | undefined
}

const WHAT = 'fleet.attention'
const NAMES: readonly (keyof FleetAttentionOptions)[] = [
  'causal',
  'window',
  'softcap',
  'scale',
  'alibiSlopes',
  'keyLengths',
  'signal',
  'queryOffset',
  'queryRows',
  'keyRows',
  'onProgress',
]

/** @throws {OptionError} for unknown names and wrong values */
export function attentionRequest(inputs: FleetAttentionInputs, options: FleetAttentionOptions): AttentionRequest {
  inputs = checkNames(`${WHAT}: inputs`, inputs, ['query', 'key', 'value'])
  for (const name of ['query', 'key', 'value'] as const) checkStoredTensor(`${WHAT}: ${name}`, inputs[name])
  options = checkNames(`${WHAT}: options`, options, NAMES)
  const { queryRows, keyRows, signal, onProgress } = options
  for (const [name, rows] of Object.entries({ queryRows, keyRows }))
    if (rows !== undefined) checkInteger(`${WHAT}: option ${name}`, rows, 1)
  if (onProgress !== undefined) checkFunction(`${WHAT}: option onProgress`, onProgress)
  return {
    inputs,
    settings: settingsOf(options),
    partition: { queryRows, keyRows },
    signal: checkedSignal(`${WHAT}: option signal`, signal),
    onProgress,
  }
}

function settingsOf({
  causal = false,
  queryOffset = 0,
  window = {},
  softcap = 0,
  scale,
  alibiSlopes,
  keyLengths,
}: FleetAttentionOptions): AttentionSettings {
  checkBoolean(`${WHAT}: option causal`, causal)
  window = checkNames(`${WHAT}: option window`, window, ['before', 'after'])
  if (alibiSlopes !== undefined && !(alibiSlopes instanceof Float32Array))
    throw expected(`${WHAT}: option alibiSlopes`, 'a Float32Array', alibiSlopes)
  const lengths = asInt32(`${WHAT}: option keyLengths`, keyLengths)
  if (keyLengths !== undefined && lengths === undefined)
    throw expected(`${WHAT}: option keyLengths`, 'an Int32Array [B]', keyLengths)
  const bounded = (reach: number | undefined): reach is number => reach !== undefined && reach !== Infinity
  const settings: AttentionSettings = {
    causal,
    queryOffset,
    softcap,
    ...(bounded(window.before) && { windowBefore: window.before }),
    ...(bounded(window.after) && { windowAfter: window.after }),
    ...(scale !== undefined && { scale }),
    ...(alibiSlopes !== undefined && { alibiSlopes: [...alibiSlopes] }),
    ...(lengths !== undefined && { keyLengths: [...lengths] }),
  }
  checkSettings(`${WHAT}: options`, settings)
  return settings
}
