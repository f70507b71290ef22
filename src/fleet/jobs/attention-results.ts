import { hashOf, resultPath } from '../store/results.ts'
import type { RowRange } from '../store/stored-tensor.ts'
import { version } from '../../core/version.ts'
import { FORMAT, type AttentionCall } from './job-format.ts'

/** Where a call's results are: each under the hash of what it was computed from. */

/** Kernels of another version may round otherwise, so the version is part of every hash. */
function pathOf(kind: string, inputs: Readonly<Record<string, unknown>>, extension: 'safetensors' | 'json'): string {
  return resultPath(hashOf({ kind, format: FORMAT, heddle: version, ...inputs }), extension)
}

/** `output` and `logSumExp` of a query chunk over one key range. */
export function partialPath({ query, key, value, settings }: AttentionCall, rows: RowRange, keys: RowRange): string {
  return pathOf('partial', { query, key, value, settings, rows, keys }, 'safetensors')
}

/**
 * `output` and `logSumExp` of a query chunk over all keys. They depend on where the keys are cut, in their last bits.
 */
export function chunkPath({ query, key, value, settings, keyRows }: AttentionCall, rows: RowRange): string {
  return pathOf('chunk', { query, key, value, settings, keyRows, rows }, 'safetensors')
}

/** The list of a call's chunks, which says that all of them are there. */
export function manifestPath(call: AttentionCall): string {
  return pathOf('attention', { ...call }, 'json')
}
