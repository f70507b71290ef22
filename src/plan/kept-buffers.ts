/** A smaller buffer is left to the collector. */
export const SMALLEST_KEPT_BYTES = 65_536
/** A need takes no buffer that is larger than so many times its own size: the rest would be held for nothing. */
const LARGEST_RATIO = 1.5
/**
 * What a call does not use stays up to this, in all: calls of another shape may come back, but hold little meanwhile.
 */
const MOST_LEFT_BYTES = 16 * 2 ** 20

/** Which kept buffer serves which need, both by their bytes. */
export interface KeptMatch {
  /** index into the kept buffers and the bytes that it will serve */
  readonly taken: readonly { readonly index: number; readonly bytes: number }[]
  /** indices of the buffers that are let go before the call */
  readonly dropped: readonly number[]
  /** bytes of the others beyond what they serve */
  readonly leftBytes: number
}

/**
 * Gives each need the smallest kept buffer that holds it, the largest need first; of the others the smallest stay. It
 * depends on the sizes alone, so that a plan knows what its call will find.
 */
export function matchKept(needs: readonly number[], kept: readonly number[]): KeptMatch {
  const bySize = kept.map((bytes, index) => ({ bytes, index })).sort((a, b) => a.bytes - b.bytes)
  const taken: { index: number; bytes: number }[] = []
  let leftBytes = 0
  for (const bytes of needs.filter((need) => need >= SMALLEST_KEPT_BYTES).sort((a, b) => b - a)) {
    const place = bySize.findIndex((buffer) => buffer.bytes >= bytes && buffer.bytes <= LARGEST_RATIO * bytes)
    const [buffer] = place < 0 ? [] : bySize.splice(place, 1)
    if (buffer === undefined) continue
    taken.push({ index: buffer.index, bytes })
    leftBytes += buffer.bytes - bytes
  }
  let idleBytes = 0
  const dropped = bySize.filter(({ bytes }) => (idleBytes += bytes) > MOST_LEFT_BYTES)
  const stayed = bySize.filter((buffer) => !dropped.includes(buffer))
  return {
    taken,
    dropped: dropped.map(({ index }) => index),
    leftBytes: leftBytes + stayed.reduce((sum, { bytes }) => sum + bytes, 0),
  }
}
