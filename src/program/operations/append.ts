import type { Graph } from '../graph.ts'
import type { Value } from '../operation.ts'
import { OptionError } from '../../core/errors.ts'
import type { OperationRule } from '../rule.ts'

/**
 * A cache with the rows of `from` behind its first `past` ones. The result shares the cache's memory.
 *
 * @param cache in the layout 'heads'
 */
export function append(graph: Graph, from: Value, cache: Value, past: number): Value {
  const { heads, capacity } = cache
  return graph.add('append', [from, cache], { past }, cache.name, { batch: from.batch, rows: past + from.rows, width: from.width }, { layout: 'heads', heads, capacity })
}

/** It is a store, which the stage adds for whatever is written to memory. */
export const appendRule: OperationRule<'append'> = {
  inRegisters: [0],
  lower: () => [],
  adjoint: ({ scope }) => {
    throw new OptionError(`${scope}: expected no cache where gradients are wanted, got one`)
  },
}
