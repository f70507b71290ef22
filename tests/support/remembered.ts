/**
 * `compute`, whose results are kept as long as the first of its arguments: several binaries, splits and transports are
 * held against the same reference. What the arguments hold must not change.
 */
export function remembered<Args extends readonly [object, ...(object | undefined)[]], Result>(
  compute: (...args: Args) => Result,
): (...args: Args) => Result {
  const known = new WeakMap<object, { readonly rest: readonly (object | undefined)[]; readonly result: Result }[]>()
  return (...args) => {
    const [first, ...rest] = args
    const entries = known.get(first) ?? []
    known.set(first, entries)
    const found = entries.find((entry) => entry.rest.every((value, at) => value === rest[at]))
    if (found !== undefined) return found.result
    const result = compute(...args)
    entries.push({ rest, result })
    return result
  }
}
