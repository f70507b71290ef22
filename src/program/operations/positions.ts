import type { Graph } from '../graph.ts'
import type { Value } from '../operation.ts'
import type { Parameter } from '../parameter.ts'
import type { OperationRule } from '../rule.ts'
import { sumTable } from '../tape.ts'

/**
 * Rows [position, position + rows) of a table by position, for every sequence of `like`. @param parameter where the
 * table is learned
 */
export function positions(graph: Graph, table: Value, like: Value, parameter: Parameter | null): Value {
  return graph.add('positions', [table], { position: graph.position, parameter }, 'positions', {
    batch: like.batch,
    rows: like.rows,
    width: table.width,
  })
}

export const positionsRule: OperationRule<'positions'> = {
  inRegisters: [],
  lower: ({ inputs: [table], outputs: [to], attributes: { position } }, { at, rows }) => [
    { op: 'load', to: at(to as Value), from: rows(table as Value, position), byPosition: true },
  ],
  learned: ({ attributes: { parameter } }) => (parameter === null ? [] : [parameter]),
  adjoint: ({ attributes: { parameter, position } }, dOutput, tape) => {
    if (parameter !== null) sumTable(tape, dOutput, parameter, { position })
    return [null]
  },
}

/**
 * Rotary positions (Su et al. 2021): the pair (x_c, x_{c + R/2}) of every head turns by the angle of its row's
 * position.
 *
 * @param graph the graph that is built
 * @param from [B, M, heads·D]
 * @param table cosines [0, R/2) and sines [R/2, R), by position, or a row for each row of `from`; its width R may be
 *   less than the head size
 * @param headSize D
 */
export function rotate(graph: Graph, from: Value, table: Value, headSize = table.width): Value {
  const position = isByPosition(table) ? graph.position : 0
  return graph.add('rotate', [from, table], { headSize, turned: table.width, position, back: false }, from.name, from)
}

function isByPosition({ layout }: Value): boolean {
  return layout === 'positions'
}

export const rotateRule: OperationRule<'rotate'> = {
  inRegisters: [0],
  inPlace: [0],
  lower: ({ inputs: [, table], outputs: [to], attributes: { headSize, turned, position, back } }, { at, rows }) => [
    {
      op: 'rotate',
      register: at(to as Value),
      headSize,
      turned,
      table: rows(table as Value, position),
      ...(isByPosition(table as Value) ? { byPosition: true } : {}),
      ...(back ? { back } : {}),
    },
  ],
  scratchPerRow: ({ attributes: { turned } }) => turned,
  adjoint: ({ inputs: [, table], attributes }, dOutput, { graph }) => [
    graph.add('rotate', [dOutput, table as Value], { ...attributes, back: !attributes.back }, 'activations', dOutput),
    null,
  ],
}
