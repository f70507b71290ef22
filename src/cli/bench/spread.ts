/** Times of one case, in milliseconds. */
export interface Spread {
  readonly medianMs: number
  /** first and third quartile */
  readonly lowMs: number
  readonly highMs: number
  readonly samples: number
}

/** Median and quartiles, by linear interpolation between order statistics. @throws {RangeError} without samples */
export function spreadOf(samplesMs: readonly number[]): Spread {
  if (samplesMs.length === 0) throw new RangeError('spread: expected one sample or more, got none')
  const sorted = [...samplesMs].sort((a, b) => a - b)
  const at = (share: number): number => {
    const place = share * (sorted.length - 1)
    const below = sorted[Math.floor(place)] ?? NaN
    const above = sorted[Math.ceil(place)] ?? NaN
    return below + (above - below) * (place - Math.floor(place))
  }
  return { medianMs: at(0.5), lowMs: at(0.25), highMs: at(0.75), samples: sorted.length }
}
