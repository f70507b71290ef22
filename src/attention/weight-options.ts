import type { AttentionOptions } from './attention-options.ts'

/** The options that decide the weights of a row: those of `attention`, its gradients, analyses and tfjs's operation. */
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

/** Those options, and how heads are laid out: what has an effect on the weights that a call computes. */
export type WeightOptions = Pick<AttentionOptions, (typeof WEIGHT_OPTIONS)[number] | 'heads' | 'keyValueHeads'>
