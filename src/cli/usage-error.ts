/** Arguments that do not fit: the command prints the message and ends with status 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** The name nearest to a mistyped one, or undefined where none is near: at most 2 edits, and fewer than half its length. */
export function nearestName(typed: string, names: readonly string[]): string | undefined {
  const limit = Math.min(2, Math.floor((typed.length - 1) / 2))
  const scored = names.map((name) => ({ name, edits: editDistance(typed, name) }))
  return scored.filter(({ edits }) => edits <= limit).sort((a, b) => a.edits - b.edits)[0]?.name
}

/** Levenshtein's distance: insertions, deletions and substitutions between `a` and `b`. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let row = 1; row <= a.length; row++) {
    const current = [row]
    for (let column = 1; column <= b.length; column++) {
      const substitution = (previous[column - 1] ?? 0) + (a[row - 1] === b[column - 1] ? 0 : 1)
      current.push(Math.min(substitution, (previous[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1))
    }
    previous = current
  }
  return previous[b.length] ?? 0
}
