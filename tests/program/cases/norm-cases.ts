import { wholeWeight } from '../../../src/program/operation.ts'
import { norm } from '../../../src/program/operations/norm.ts'
import { rmsNorm } from '../../../src/program/operations/rms-norm.ts'
import { rmsNormHeads } from '../../../src/program/operations/rms-norm-heads.ts'
import { one, rowWise, sumOf, type CaseTable, type OperationCase } from './operation-case.ts'

const normCase = (epsilon: number, biased = true): OperationCase => ({
  inputs: one,
  parameters: ({ W }) => (biased ? [[W], [W]] : [[W]]),
  build: (graph, [x], [weight, bias]) =>
    norm(graph, x!, wholeWeight(weight!), bias === undefined ? null : wholeWeight(bias), epsilon),
  reference: rowWise(([x], _, [weight, bias]) => {
    const mean = sumOf(x!, (value) => value) / x!.length
    const deviation = Math.sqrt(sumOf(x!, (value) => (value - mean) ** 2) / x!.length + epsilon)
    return x!.map((value, c) => ((value - mean) / deviation) * weight![c]! + (bias?.[c] ?? 0))
  }),
  // Three numbers that are almost the same are divided by their small deviation, with the rounding of their mean.
  slack: 20,
})

/** Over parts of W elements, with one weight for all of them. */
const rmsNormCase = (epsilon: number, heads = 1, build: typeof rmsNorm = rmsNorm): OperationCase => ({
  inputs: ({ W }) => [heads * W],
  parameters: ({ W }) => [[W]],
  build: (graph, [x], [weight]) => build(graph, x!, wholeWeight(weight!), epsilon),
  reference: rowWise(([x], _, [weight]) => {
    const size = weight!.length
    return x!.map((value, at) => {
      const head = Math.floor(at / size) * size
      return (
        (value / Math.sqrt(sumOf(x!.subarray(head, head + size), (each) => each ** 2) / size + epsilon)) *
        weight![at % size]!
      )
    })
  }),
  // A single number close to 0 is divided by little more than itself.
  slack: 20,
})

export const normCases = {
  norm: {
    'a small epsilon': normCase(1e-5),
    'a large epsilon': normCase(0.5),
    'without a bias': normCase(0.01, false),
  },
  'rms-norm': { 'a small epsilon': rmsNormCase(1e-6), 'a large epsilon': rmsNormCase(0.5) },
  'rms-norm-heads': {
    'one head': rmsNormCase(0.01, 1, rmsNormHeads),
    'three heads': rmsNormCase(0.01, 3, rmsNormHeads),
  },
} satisfies CaseTable
