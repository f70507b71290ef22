import { ceilDivide, roundUp } from '../core/integers.ts'
import type { AttentionSizes } from './attention-sizes.ts'

/** With more query rows there are tasks enough without cutting the keys. */
const FEW_ROWS = 64
const MAX_SPLITS = 16
/** A part starts at a multiple of it, and so at a multiple of every key block. */
const SPLIT_STEP = 1024
const MIN_SPLIT_KEYS = 4 * SPLIT_STEP

/**
 * Where the keys are cut, so that a few query rows over many keys still occupy every lane: [keyStart, keyEnd) of each
 * part, in key order. It depends on M and N alone: so a row has the same bits on any pool, and whatever heads stand
 * beside it.
 */
export function keySplits({
  queries,
  keys,
}: Pick<AttentionSizes, 'queries' | 'keys'>): { keyStart: number; keyEnd: number }[] {
  const wanted = queries > FEW_ROWS ? 1 : Math.min(MAX_SPLITS, Math.floor(keys / MIN_SPLIT_KEYS))
  const size = wanted <= 1 ? keys : roundUp(ceilDivide(keys, wanted), SPLIT_STEP)
  const splits: { keyStart: number; keyEnd: number }[] = []
  for (let keyStart = 0; keyStart < keys; keyStart += size)
    splits.push({ keyStart, keyEnd: Math.min(keys, keyStart + size) })
  return splits
}
