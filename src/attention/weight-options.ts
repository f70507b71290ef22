import type { AttentionOptions } from './attention-options.ts'

/** The options that decide the weights of a row and that analyses and tfjs's operation take too. */
export const WEIGHT_OPTIONS = [
  'causal',
  'queryOffset',
  'window',
  'mask',
  'bias',
  'alibiSlopes',
  'softcap',
  'scale',
  'segments',
  'keyLengths',
] as const satisfies readonly (keyof AttentionOptions)[]

/** All of them: those of `attention` and its gradients. */
export const ATTENTION_WEIGHT_OPTIONS = [
  ...WEIGHT_OPTIONS,
  'relativeBias',
] as const satisfies readonly (keyof AttentionOptions)[]

/** What `analyzeAttention` and tfjs's operation take of them, and how heads are laid out. */
export type WeightOptions = Pick<AttentionOptions, (typeof WEIGHT_OPTIONS)[number] | 'heads' | 'keyValueHeads'>
