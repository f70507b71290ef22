/**
 * Which keys a query may see by position, and which queries see a key: the one place that knows what `causal` and
 * `window` mean. Query i is at position p = i + queryOffset among the keys and sees key j where p − before ≤ j ≤ p
 * + after.
 */

/** The options that say how far a query sees; `AttentionSettings` has them. */
export interface PositionRule {
  readonly causal: boolean
  /** keys before and after the query's own position, inclusive; Infinity is unbounded */
  readonly windowBefore: number
  readonly windowAfter: number
}

/** [start, end); empty where end ≤ start. */
export interface Interval {
  readonly start: number
  readonly end: number
}

/** How far a query sees on both sides of its position, inclusive. */
export function reachOf({ causal, windowBefore, windowAfter }: PositionRule): {
  readonly before: number
  readonly after: number
} {
  return { before: windowBefore, after: causal ? Math.min(0, windowAfter) : windowAfter }
}

/** The keys that a query at `position` sees, of the first `keyLength`. */
export function keysSeenFrom(position: number, rule: PositionRule, keyLength: number): Interval {
  const { before, after } = reachOf(rule)
  return { start: Math.max(0, position - before), end: Math.min(keyLength, position + after + 1) }
}

/** The query rows, of the first `rows`, that see key `key` by position, whatever the key length. */
export function rowsThatSee(key: number, rule: PositionRule, queryOffset: number, rows: number): Interval {
  const { before, after } = reachOf(rule)
  return { start: Math.max(0, key - after - queryOffset), end: Math.min(rows, key + before - queryOffset + 1) }
}
