import type { Activation } from '../../protocol/stage.ts'
import { checkSameShape, type Graph } from '../graph.ts'
import type { Value } from '../operation.ts'
import { noAdjoint, type OperationRule } from '../rule.ts'

/**
 * a + b.
 *
 * @param graph the graph that is built
 * @param a [B, M, size]
 * @param b of the same sizes
 */
export function add(graph: Graph, a: Value, b: Value): Value {
  checkSameShape(graph, 'two summands', a, b)
  return graph.add('add', [a, b], {}, 'activations', a)
}

export const addRule: OperationRule<'add'> = {
  inPlace: [0, 1],
  lower: ({ inputs: [a, b], outputs: [to] }, { at, reused }) => [
    { op: 'add', from: at((reused === b ? a : b) as Value), to: at(to as Value) },
  ],
  adjoint: (_, dOutput) => [dOutput, dOutput],
}

/** a − b. */
export function subtract(graph: Graph, a: Value, b: Value): Value {
  checkSameShape(graph, 'two operands', a, b)
  return graph.add('subtract', [a, b], {}, 'activations', a)
}

export const subtractRule: OperationRule<'subtract'> = {
  inPlace: [0],
  lower: ({ inputs: [, b], outputs: [to] }, { at }) => [{ op: 'subtract', from: at(b as Value), to: at(to as Value) }],
  adjoint: ({ inputs: [, b] }, dOutput, { graph, needs }) => [
    dOutput,
    needs(b as Value) ? scale(graph, dOutput, -1) : null,
  ],
}

/** factor·x. */
export function scale(graph: Graph, from: Value, factor: number): Value {
  return graph.add('scale', [from], { factor }, 'activations', from)
}

export const scaleRule: OperationRule<'scale'> = {
  inPlace: [0],
  lower: ({ outputs: [to], attributes: { factor } }, { at }) => [{ op: 'scale', register: at(to as Value), factor }],
  adjoint: ({ attributes: { factor } }, dOutput, { graph }) => [scale(graph, dOutput, factor)],
}

/** The same rows, one after the other in memory: attention's own gradients stand head by head, and may be sums. */
export function asRows(graph: Graph, from: Value): Value {
  return from.layout === 'rows' ? from : scale(graph, from, 1)
}

/**
 * a ∘ b, element by element.
 *
 * @param graph the graph that is built
 * @param a [B, M, size]
 * @param b of the same sizes
 */
export function multiply(graph: Graph, a: Value, b: Value): Value {
  checkSameShape(graph, 'two factors', a, b)
  return graph.add('multiply', [a, b], {}, 'activations', a)
}

export const multiplyRule: OperationRule<'multiply'> = {
  inPlace: [0, 1],
  lower: ({ inputs: [a, b], outputs: [to] }, { at, reused }) => [
    { op: 'multiply', from: at((reused === b ? a : b) as Value), to: at(to as Value) },
  ],
  adjoint: ({ inputs: [a, b] }, dOutput, tape) => {
    const times = (other: Value): Value => multiply(tape.graph, dOutput, tape.recall(other))
    return [tape.needs(a as Value) ? times(b as Value) : null, tape.needs(b as Value) ? times(a as Value) : null]
  },
}

/**
 * f(x), element by element.
 *
 * @param graph the graph that is built
 * @param from [B, M, size]
 * @param activation which f
 */
export function activate(graph: Graph, from: Value, activation: Activation): Value {
  return graph.add('activate', [from], { activation }, 'activations', from)
}

export const activateRule: OperationRule<'activate'> = {
  inPlace: [0],
  lower: ({ outputs: [to], attributes: { activation } }, { at }) => [
    { op: 'activate', register: at(to as Value), activation },
  ],
  adjoint: ({ inputs: [x], attributes: { activation } }, dOutput, { graph, recall }) => [
    graph.add('activate-backward', [recall(x as Value), dOutput], { activation }, 'activations', dOutput),
  ],
}

export const activateBackwardRule: OperationRule<'activate-backward'> = {
  inPlace: [1],
  lower: ({ inputs: [x], outputs: [to], attributes: { activation } }, { at }) => [
    { op: 'activate-backward', x: at(x as Value), dy: at(to as Value), activation },
  ],
  adjoint: noAdjoint,
}

/**
 * Each element is 0 with this probability, else times 1/(1 − probability); the part's seed and the place in it decide
 * which.
 *
 * @param graph the graph that is built
 * @param from [B, M, size]
 * @param probability from 0 to 1
 */
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
    // A threshold of 2³² drops everything. It does not fit into the kernel's word: there the factor alone does it.
    const dropout = {
      threshold: Math.floor(probability * 2 ** 32),
      keepScale: probability === 1 ? 0 : 1 / (1 - probability),
      ...seed,
      site,
    }
    return [{ op: 'drop', register: at(to as Value), dropout }]
  },
  // The counter alone decides what is dropped: the same of the gradient.
  adjoint: ({ attributes }, dOutput, { graph }) => [graph.add('drop', [dOutput], attributes, 'activations', dOutput)],
}
