import { wholeWeight } from '../../../src/program/operation.ts'
import { linear } from '../../../src/program/operations/linear.ts'
import { one, rowWise, sumOf, type OperationCase } from './operation-case.ts'

const outOf = (W: number): number => ((W * 5) % 13) + 1
const parts = (W: number): { rowStart: number; outSize: number; inSize: number } => ({
  rowStart: 3,
  outSize: outOf(W),
  inSize: W,
})

function product(
  x: Float64Array,
  weight: Float64Array,
  { rowStart, outSize, inSize }: ReturnType<typeof parts>,
): number[] {
  return Array.from({ length: outSize }, (_, o) => sumOf(x, (value, c) => value * weight[(rowStart + o) * inSize + c]!))
}

export const linearCases: Readonly<Record<string, OperationCase>> = {
  'with a bias': {
    inputs: one,
    parameters: ({ W }) => [[outOf(W), W], [outOf(W)]],
    build: (graph, [x], [weight, bias]) => linear(graph, x!, wholeWeight(weight!), wholeWeight(bias!)),
    reference: rowWise(([x], _, [weight, bias]) =>
      product(x!, weight!, { ...parts(x!.length), rowStart: 0 }).map((value, o) => value + bias![o]!),
    ),
  },
  'rows of a larger weight': {
    inputs: one,
    parameters: ({ W }) => [[outOf(W) + 5, W], [outOf(W) + 5]],
    build: (graph, [x], [weight, bias], _, { W }) =>
      linear(graph, x!, { parameter: weight!, ...parts(W) }, { parameter: bias!, ...parts(W), inSize: 1 }),
    reference: rowWise(([x], _, [weight, bias]) =>
      product(x!, weight!, parts(x!.length)).map((value, o) => value + bias![3 + o]!),
    ),
  },
  'the same weight twice': {
    inputs: one,
    parameters: ({ W }) => [[W, W]],
    build: (graph, [x], [weight]) =>
      linear(graph, linear(graph, x!, wholeWeight(weight!), null), wholeWeight(weight!), null),
    reference: rowWise(([x], _, [weight]) => {
      const whole = { rowStart: 0, outSize: x!.length, inSize: x!.length }
      return product(Float64Array.from(product(x!, weight!, whole)), weight!, whole)
    }),
  },
}
