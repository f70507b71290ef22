import { crossEntropy, squaredError } from '../../../src/program/operations/loss.ts'
import { one, rowOf, rowWise, sumOf, type CaseTable, type OperationCase } from './operation-case.ts'

const IGNORED = 0
const crossEntropyCase = (smoothing: number): OperationCase => ({
  inputs: one,
  tokenKinds: ({ W }) => W,
  factor: 0.25,
  build: (graph, [logits], _, targets) =>
    crossEntropy(graph, logits!, targets, { ignoreIndex: IGNORED, smoothing }, 0.25),
  reference: rowWise(([logits], { token }) => {
    if (token === IGNORED) return [0]
    const logSumExp = Math.log(sumOf(logits!, Math.exp))
    return [
      logSumExp - (1 - smoothing) * logits![token]! - (smoothing / logits!.length) * sumOf(logits!, (value) => value),
    ]
  }),
})

export const lossCases = {
  'cross-entropy': { 'without smoothing': crossEntropyCase(0), 'with smoothing': crossEntropyCase(0.2) },
  'squared-error': {
    'of two values': {
      inputs: one,
      factor: 0.25,
      build: (graph, [x], _parameters, _tokens, { B, M, W }) =>
        squaredError(
          graph,
          x!,
          graph.input(
            'target',
            { batch: B, rows: M, width: W },
            Float32Array.from({ length: B * M * W }, (_, at) => Math.fround(Math.sin(at))),
          ),
          0.25,
        ),
      reference: ({ inputs: [x] }, { B, M, W }) =>
        Float64Array.from({ length: B * M }, (_, r) =>
          sumOf(rowOf(x!, r, B * M), (value, c) => (value - Math.fround(Math.sin(r * W + c))) ** 2),
        ),
    },
  },
} satisfies CaseTable
