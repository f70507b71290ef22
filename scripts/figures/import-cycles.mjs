/**
 * Files that import each other, directly or over others, type-only imports included.
 *
 * @param facts what `sourceFacts` found
 * @returns groups of such files: strongly connected components of more than one (Tarjan 1972)
 */
export function importCycles(facts) {
  const imports = new Map(facts.map((each) => [each.file, each.imports]))
  const [index, low, stack, cycles] = [new Map(), new Map(), [], []]
  const visit = (file) => {
    index.set(file, index.size)
    low.set(file, index.get(file))
    stack.push(file)
    for (const next of (imports.get(file) ?? []).filter((each) => imports.has(each))) {
      if (!index.has(next)) low.set(file, Math.min(low.get(file), visit(next)))
      else if (stack.includes(next)) low.set(file, Math.min(low.get(file), index.get(next)))
    }
    if (low.get(file) === index.get(file)) {
      const group = stack.splice(stack.indexOf(file))
      if (group.length > 1) cycles.push(group.sort())
    }
    return low.get(file)
  }
  for (const file of imports.keys()) if (!index.has(file)) visit(file)
  return cycles
}
