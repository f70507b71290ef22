import type { Graph } from '../graph.ts'
import type { Value } from '../operation.ts'
import type { Parameter } from '../parameter.ts'
import type { OperationRule } from '../rule.ts'
import { sumTable } from '../tape.ts'

/**
 * scale · table[token] for each row.
 *
 * @param graph the graph that is built
 * @param tokens Int32 [B, M]
 * @param table [vocabulary, size]
 * @param scale what rows of the table are multiplied by
 */
export function embed(graph: Graph, tokens: Value, table: Parameter, scale: number): Value {
  return graph.add('embed', [tokens], { table, scale }, 'embeddings', {
    batch: tokens.batch,
    rows: tokens.rows,
    width: table.shape[1] ?? 0,
  })
}

export const embedRule: OperationRule<'embed'> = {
  inRegisters: [],
  tables: ({ attributes: { table } }) => [table],
  lower: ({ inputs: [tokens], outputs: [to], attributes: { table, scale } }, { at, rows, table: place }) => [
    { op: 'embed', to: at(to as Value), tokens: rows(tokens as Value), table: place(table), scale },
  ],
  adjoint: ({ inputs: [tokens], attributes: { table, scale } }, dOutput, tape) => {
    sumTable(tape, dOutput, table, { tokens: tokens as Value, scale })
    return [null]
  },
}
