import type { Graph } from '../graph.ts'
import type { Value } from '../operation.ts'
import type { OperationRule } from '../rule.ts'

/** The same rows, kept in memory head by head, as attention reads them. */
export function split(graph: Graph, from: Value, heads: number): Value {
  if (from.layout === 'heads' && from.heads === heads) return from
  const result = { name: from.name, sizes: from, storage: { layout: 'heads' as const, heads } }
  return graph.addWith('split', [from], {}, [result])[0] as Value
}

/** Nothing is to be done to the rows: where they go is the store's matter. */
export const splitRule: OperationRule<'split'> = {
  inPlace: [0],
  lower: () => [],
  adjoint: (_, dOutput) => [dOutput],
}
