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
