import type { Graph } from '../graph.ts'
import type { Value } from '../operation.ts'
import type { OperationRule } from '../rule.ts'

/** Rows [position, position + rows) of a table by position, for every sequence of `like`. */
export function positions(graph: Graph, table: Value, like: Value, position: number): Value {
  return graph.add('positions', [table], { position }, 'positions', { batch: like.batch, rows: like.rows, width: table.width })
}

export const positionsRule: OperationRule<'positions'> = {
  inRegisters: [],
  lower: ({ inputs: [table], outputs: [to], attributes: { position } }, { at, rows }) => [
    { op: 'load', to: at(to as Value), from: rows(table as Value, position), byPosition: true },
  ],
}

/**
 * Rotary positions (Su et al. 2021): the pair (x_c, x_{c + D/2}) of every head turns by the angle of its row's position.
 *
 * @param table by position: cosines [0, D/2) and sines [D/2, D)
 * @param position of the first row of every sequence
 */
export function rotate(graph: Graph, from: Value, table: Value, position: number): Value {
  return graph.add('rotate', [from, table], { headSize: table.width, position }, from.name, from)
}

export const rotateRule: OperationRule<'rotate'> = {
  inRegisters: [0],
  inPlace: [0],
  lower: ({ inputs: [, table], outputs: [to], attributes: { headSize, position } }, { at, rows }) => [
    { op: 'rotate', register: at(to as Value), headSize, table: rows(table as Value, position), byPosition: true },
  ],
}
