import type { Graph } from '../graph.ts'
import type { Value } from '../operation.ts'
import { OptionError } from '../../core/errors.ts'
import type { OperationRule } from '../rule.ts'

/**
 * A cache with the rows of `from` behind the first ones of each sequence. The result shares the cache's memory.
 *
 * @param cache in the layout 'heads'
 * @param past rows that each sequence has: one entry per sequence, or a single entry for all of them
 */
export function append(graph: Graph, from: Value, cache: Value, past: readonly number[]): Value {
  const { heads, capacity } = cache
  const result = {
    name: cache.name,
    sizes: { batch: from.batch, rows: Math.max(...past) + from.rows, width: from.width },
    storage: { layout: 'heads' as const, heads, capacity },
  }
  return graph.addWith('append', [from, cache], { past }, [result])[0] as Value
}

/** It is a store, which the stage adds for whatever is written to memory. */
export const appendRule: OperationRule<'append'> = {
  inRegisters: [0],
  lower: () => [],
  adjoint: ({ scope }) => {
    throw new OptionError(`${scope}: expected no cache where gradients are wanted, got one`)
  },
}
