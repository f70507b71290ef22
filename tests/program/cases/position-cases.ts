import { add } from '../../../src/program/operations/elementwise.ts'
import { embed } from '../../../src/program/operations/embed.ts'
import { positions, rotate } from '../../../src/program/operations/positions.ts'
import { one, rowOf, rowWise, type CaseTable, type OperationCase } from './operation-case.ts'

/** Heads of 2·W elements that turn, and of `still` more that do not. */
const rotateCase = (heads: number, position: number, still = 0): OperationCase => ({
  position,
  inputs: ({ W }) => [(2 * W + still) * heads],
  build: (graph, [x], _parameters, _tokens, { M, W }) => {
    const table = Float32Array.from({ length: (position + M) * 2 * W }, (_, at) =>
      (at % (2 * W) < W ? Math.cos : Math.sin)(angleOf(Math.floor(at / (2 * W)), at % W)),
    )
    return rotate(
      graph,
      x!,
      graph.input('angles', { batch: 1, rows: position + M, width: 2 * W }, table, { layout: 'positions' }),
      2 * W + still,
    )
  },
  reference: rowWise(([x], { i }) => {
    const size = x!.length / heads
    const half = (size - still) / 2
    return x!.map((value, at) => {
      const c = at % size
      if (c >= 2 * half) return value
      const angle = angleOf(position + i, c % half)
      return value * Math.cos(angle) + (c < half ? -x![at + half]! : x![at - half]!) * Math.sin(angle)
    })
  }),
})

const angleOf = (position: number, c: number): number => position / (1 + 0.7 * c)

export const positionCases = {
  rotate: {
    'one head': rotateCase(1, 0),
    'three heads, from a position on': rotateCase(3, 5),
    'a part of two heads': rotateCase(2, 1, 3),
  },
  embed: {
    'with a scale': {
      inputs: () => [],
      parameters: ({ W }) => [[7, W]],
      tokenKinds: () => 6,
      build: (graph, _, [table], tokens) => embed(graph, tokens, table!, 1.75),
      reference: rowWise((_, { token }, [table]) => rowOf(table!, token, 7).map((value) => 1.75 * value)),
    },
  },
  positions: {
    'learned, from a position on': {
      position: 2,
      inputs: one,
      parameters: ({ M, W }) => [[M + 4, W]],
      build: (graph, [x], [table]) =>
        add(
          graph,
          x!,
          positions(
            graph,
            graph.input('table', { batch: 1, rows: table!.shape[0]!, width: x!.width }, table!.data, {
              layout: 'positions',
            }),
            x!,
            table!,
          ),
        ),
      reference: rowWise(([x], { i }, [table]) => x!.map((value, c) => value + table![(i + 2) * x!.length + c]!)),
    },
  },
} satisfies CaseTable
