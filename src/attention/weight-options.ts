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

export type WeightOptionName = (typeof WEIGHT_OPTIONS)[number]
