import { checkFloat32, expected } from '../../core/check.ts'
import type { Graph } from '../graph.ts'
import type { Value } from '../operation.ts'
import { activate, scale } from './elementwise.ts'

/** What becomes of a head's products before they are logits: first the scale, then the cap. */
export interface LogitRule {
  /** they are times that (Cohere's `logit_scale`); absent: 1 */
  readonly scale?: number
  /** c: c·tanh(x/c), which stays between −c and c (Gemma's `final_logit_softcapping`); absent: none */
  readonly softcap?: number
}

/** @throws {OptionError} unless both are positive float32 numbers, where they are given */
export function checkLogitRule(what: string, { scale: factor, softcap }: LogitRule): void {
  for (const [name, value] of [
    [`${what} logitScale`, factor],
    [`${what} logitSoftcap`, softcap],
  ] as const) {
    if (value === undefined) continue
    checkFloat32(name, value)
    if (!(Math.fround(value) > 0)) throw expected(name, 'a number > 0', value)
  }
}

/** Logits [B, M, V] from a head's products. */
export function shapeLogits(graph: Graph, products: Value, { scale: factor = 1, softcap }: LogitRule): Value {
  if (softcap === undefined) return factor === 1 ? products : scale(graph, products, factor)
  return scale(graph, activate(graph, scale(graph, products, factor / softcap), 'tanh'), softcap)
}
