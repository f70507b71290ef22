import type { Activation } from '../../protocol/stage.ts'
import { checkSameShape, type Graph } from '../graph.ts'
import type { Value } from '../operation.ts'
import type { OperationRule } from '../rule.ts'

/** a + b. */
export function add(graph: Graph, a: Value, b: Value): Value {
  checkSameShape(graph, 'two summands', a, b)
  return graph.add('add', [a, b], {}, 'activations', a)
}

export const addRule: OperationRule<'add'> = {
  inPlace: [0, 1],
  lower: ({ inputs: [a, b], outputs: [to] }, { at, reused }) => [{ op: 'add', from: at((reused === b ? a : b) as Value), to: at(to as Value) }],
}

/** a ∘ b, element by element. */
export function multiply(graph: Graph, a: Value, b: Value): Value {
  checkSameShape(graph, 'two factors', a, b)
  return graph.add('multiply', [a, b], {}, 'activations', a)
}

export const multiplyRule: OperationRule<'multiply'> = {
  inPlace: [0, 1],
  lower: ({ inputs: [a, b], outputs: [to] }, { at, reused }) => [{ op: 'multiply', from: at((reused === b ? a : b) as Value), to: at(to as Value) }],
}

/** f(x), element by element. */
export function activate(graph: Graph, from: Value, activation: Activation): Value {
  return graph.add('activate', [from], { activation }, 'activations', from)
}

export const activateRule: OperationRule<'activate'> = {
  inPlace: [0],
  lower: ({ outputs: [to], attributes: { activation } }, { at }) => [{ op: 'activate', register: at(to as Value), activation }],
}

/** Each element is 0 with this probability, else times 1/(1 − probability); the part's seed and the place in it decide which. */
export function drop(graph: Graph, from: Value, probability: number): Value {
  // The site is counted whether or not anything is dropped, so that it does not depend on other layers' modes.
  const site = graph.nextSite()
  const { seed } = graph
  if (probability === 0 || seed === null) return from
  return graph.add('drop', [from], { probability, seed, site }, 'activations', from)
}

export const dropRule: OperationRule<'drop'> = {
  inPlace: [0],
  lower: ({ outputs: [to], attributes: { probability, seed, site } }, { at }) => {
    const dropout = { threshold: Math.floor(probability * 2 ** 32), keepScale: probability === 1 ? 0 : 1 / (1 - probability), ...seed, site }
    return [{ op: 'drop', register: at(to as Value), dropout }]
  },
}
