import type { Value } from './operation.ts'

/**
 * What gradients keep of a block's insides: every product of a linear layer, those that attention reads, or nothing.
 * Each block's input, attention's output and its log-sum-exp are always kept.
 */
export type Kept = 'products' | 'projections' | 'nothing'

/** From the most memory and the least work to the opposite. */
export const KEPT_CHOICES: readonly Kept[] = ['products', 'projections', 'nothing']

export function keepsValue(kept: Kept, { producer }: Value): boolean {
  if (producer?.kind === 'split') return kept !== 'nothing'
  return producer?.kind === 'linear' && kept === 'products'
}
