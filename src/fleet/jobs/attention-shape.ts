import { checkInteger } from '../../core/check.ts'
import { ShapeError } from '../../core/errors.ts'
import { formatShape } from '../../core/tensor.ts'
import type { AttentionSettings } from './attention-settings.ts'

/** The sizes of a call over stored tensors. */
export interface AttentionShape {
  /** sizes before [rows, width] in the output: [], [H] or [B, H] */
  readonly leading: readonly number[]
  readonly batch: number
  readonly heads: number
  readonly keyValueHeads: number
  readonly queries: number
  readonly keys: number
  readonly headSize: number
  readonly valueSize: number
}

/** @throws {ShapeError} when options that hold one value per head or per batch hold another number of values */
export function checkSettingsFit({ batch, heads, keys }: AttentionShape, settings: AttentionSettings): void {
  const { alibiSlopes, keyLengths } = settings
  const slopes = alibiSlopes?.length ?? heads
  if (slopes !== heads && slopes !== batch * heads)
    throw new ShapeError(
      `fleet.attention: expected ${heads} alibiSlopes, one per head, or ${batch * heads}, got ${slopes}`,
    )
  if (keyLengths === undefined) return
  if (keyLengths.length !== batch)
    throw new ShapeError(`fleet.attention: expected ${batch} keyLengths, one per batch, got ${keyLengths.length}`)
  for (const length of keyLengths) checkInteger('fleet.attention: option keyLengths', length, 0, keys)
}

interface Shapes {
  readonly query: readonly number[]
  readonly key: readonly number[]
  readonly value: readonly number[]
}

/**
 * Query [M, D], [B, M, D] or [B, H, M, D]; key [N, D], [B, N, D] or [B, Hkv, N, D]; value as key with size Dv.
 *
 * @throws {ShapeError} when a rank or size does not fit the others, or there are no rows
 */
export function attentionShape({ query, key, value }: Shapes): AttentionShape {
  const fail = (expectation: string): never => {
    throw new ShapeError(
      `fleet.attention: expected ${expectation}, got query ${formatShape(query)}, key ${formatShape(key)}, value ${formatShape(value)}`,
    )
  }
  const rank = query.length
  if (rank < 2 || rank > 4 || key.length !== rank || value.length !== rank)
    return fail('tensors of the same rank, 2 to 4')
  const [queries = 0, headSize = 0] = query.slice(-2)
  const [keys = 0, keySize = 0] = key.slice(-2)
  const [valueRows = 0, valueSize = 0] = value.slice(-2)
  if (headSize !== keySize) return fail('query and key of the same head size')
  if (keys !== valueRows) return fail('as many keys as values')
  if ([queries, keys, headSize, valueSize].includes(0)) return fail('at least one query row and one key')
  const [batch = 1, heads = 1] = query.slice(0, -2)
  const [keyBatch = 1, keyValueHeads = 1] = key.slice(0, -2)
  const sameLeading = value.slice(0, -2).every((size, axis) => size === key[axis])
  if (batch !== keyBatch || !sameLeading) return fail('the same batch everywhere, and key and value of the same heads')
  if (batch === 0 || keyValueHeads === 0 || heads === 0 || heads % keyValueHeads !== 0)
    return fail('query heads that are a multiple of the key heads')
  return { leading: query.slice(0, -2), batch, heads, keyValueHeads, queries, keys, headSize, valueSize }
}
