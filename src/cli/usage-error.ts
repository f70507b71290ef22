/** Arguments that do not fit: the command prints the message and ends with status 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/**
 * The name nearest to a mistyped one, or undefined where none is near: at most 2 edits, and fewer than half its length.
 */
export function nearestName(typed: string, names: readonly string[]): string | undefined {
  const limit = Math.min(2, Math.floor((typed.length - 1) / 2))
  const scored = names.map((name) => ({ name, edits: editDistance(typed, name) }))
  return scored.filter(({ edits }) => edits <= limit).sort((a, b) => a.edits - b.edits)[0]?.name
}

/** Insertions, deletions, substitutions and swaps of neighbours between `a` and `b` (optimal string alignment). */
function editDistance(a: string, b: string): number {
  let before: number[] = []
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let row = 1; row <= a.length; row++) {
    const current = [row]
    for (let column = 1; column <= b.length; column++) {
      const substitution = (previous[column - 1] ?? 0) + (a[row - 1] === b[column - 1] ? 0 : 1)
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]
      const swap = swapped ? (before[column - 2] ?? 0) + 1 : Infinity
      current.push(Math.min(substitution, swap, (previous[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1))
    }
    before = previous
    previous = current
  }
  return previous[b.length] ?? 0
}
