import type { BytesByPurpose } from '../core/ledger.ts'

/** Buffers that no part of a call uses, as plans and reports list them. */
export const KEPT_PURPOSE = 'kept buffers'
/** A smaller buffer is left to the collector. */
export const SMALLEST_KEPT_BYTES = 65_536
/** A need takes no buffer that is larger than so many times its own size: a larger need may come beside it. */
const LARGEST_RATIO = 4

/** Which kept buffer serves which need, both by their bytes. */
export interface KeptMatch {
  /** index into the kept buffers and the bytes that it will serve */
  readonly taken: readonly { readonly index: number; readonly bytes: number }[]
  /** bytes of the kept buffers beyond what they serve */
  readonly leftBytes: number
}

/**
 * Gives each need the smallest kept buffer that holds it, the largest need first. It depends on the sizes alone, so that a
 * plan knows what its call will find.
 */
export function matchKept(needs: readonly number[], kept: readonly number[]): KeptMatch {
  const bySize = kept.map((bytes, index) => ({ bytes, index })).sort((a, b) => a.bytes - b.bytes)
  const taken: { index: number; bytes: number }[] = []
  for (const bytes of needs.filter((need) => need >= SMALLEST_KEPT_BYTES).sort((a, b) => b - a)) {
    const place = bySize.findIndex((buffer) => buffer.bytes >= bytes && buffer.bytes <= LARGEST_RATIO * bytes)
    const [buffer] = place < 0 ? [] : bySize.splice(place, 1)
    if (buffer !== undefined) taken.push({ index: buffer.index, bytes })
  }
  const served = taken.reduce((sum, { bytes }) => sum + bytes, 0)
  return { taken, leftBytes: kept.reduce((sum, bytes) => sum + bytes, 0) - served }
}

/** A plan with the kept buffers that it does not use, or without where the budget has no room for them: its call drops them. Undefined where it does not fit either way. */
export function affordableKept<Candidate extends { readonly bytes: BytesByPurpose; readonly budgetedBytes: number }>(
  candidate: Candidate, keptBytes: number, budgetBytes: number | undefined,
): Candidate | undefined {
  if (budgetBytes === undefined || candidate.budgetedBytes + keptBytes <= budgetBytes) {
    return { ...candidate, bytes: { ...candidate.bytes, [KEPT_PURPOSE]: keptBytes }, budgetedBytes: candidate.budgetedBytes + keptBytes }
  }
  return candidate.budgetedBytes <= budgetBytes ? candidate : undefined
}
