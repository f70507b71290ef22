import { activate, add, drop, multiply, scale, subtract } from '../../../src/program/operations/elementwise.ts'
import type { Activation } from '../../../src/protocol/stage.ts'
import { exactActivations } from '../../support/activations.ts'
import { philox } from '../../support/philox.ts'
import { one, rowWise, two, type CaseTable, type OperationCase } from './operation-case.ts'

const activateCase = (activation: Activation): OperationCase => ({
  inputs: one,
  build: (graph, [x]) => activate(graph, x!, activation),
  reference: ({ inputs: [x] }) => x!.map(exactActivations[activation]),
})

/** Of the graph's dropouts. */
export const SEED = { seedLow: 0x1234_5678, seedHigh: 0x9abc_def0 }
const dropCase = (probability: number): OperationCase => ({
  inputs: one,
  // The second dropout of a part: site 2.
  build: (graph, [x]) => drop(graph, drop(graph, x!, 0), probability),
  reference: rowWise(([x], { b, i }) =>
    x!.map((value, c) => {
      const word = philox([Math.floor(c / 4), i, b, 2], [SEED.seedLow, SEED.seedHigh])[c % 4]!
      return word >= Math.floor(probability * 2 ** 32) ? value / (1 - probability) : 0
    }),
  ),
})

export const elementwiseCases = {
  add: {
    'two values': {
      inputs: two,
      build: (graph, [a, b]) => add(graph, a!, b!),
      reference: rowWise(([a, b]) => a!.map((value, c) => value + b![c]!)),
    },
    'a value and itself': {
      inputs: one,
      build: (graph, [a]) => add(graph, a!, a!),
      reference: ({ inputs: [a] }) => a!.map((value) => 2 * value),
    },
  },
  subtract: {
    'two values': {
      inputs: two,
      build: (graph, [a, b]) => subtract(graph, a!, b!),
      reference: rowWise(([a, b]) => a!.map((value, c) => value - b![c]!)),
    },
  },
  multiply: {
    'two values': {
      inputs: two,
      build: (graph, [a, b]) => multiply(graph, a!, b!),
      reference: rowWise(([a, b]) => a!.map((value, c) => value * b![c]!)),
    },
    'a value and itself': {
      inputs: one,
      build: (graph, [a]) => multiply(graph, a!, a!),
      reference: ({ inputs: [a] }) => a!.map((value) => value * value),
    },
    'with what it was made of': {
      inputs: one,
      build: (graph, [a]) => multiply(graph, activate(graph, a!, 'gelu'), a!),
      reference: ({ inputs: [a] }) => a!.map((value) => exactActivations.gelu(value) * value),
    },
  },
  scale: {
    'by −1.5': {
      inputs: one,
      build: (graph, [x]) => scale(graph, x!, -1.5),
      reference: ({ inputs: [x] }) => x!.map((value) => -1.5 * value),
    },
  },
  activate: Object.fromEntries(
    (['relu', 'gelu', 'gelu-tanh', 'silu', 'tanh'] as const).map((activation) => [
      activation,
      activateCase(activation),
    ]),
  ),
  drop: { 'a tenth': dropCase(0.1), most: dropCase(0.75) },
} satisfies CaseTable
