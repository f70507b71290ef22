/**
 * Attention as an operation of TensorFlow.js, with a gradient.
 *
 * @module heddle/tfjs
 */

export { attention, attentionAsync } from './attention.ts'
export { multiHeadAttention, type MultiHeadAttentionOptions, type Projection } from './multi-head-attention.ts'
export type { TfAttentionOptions } from './options.ts'
export { registerWebGpu } from './register.ts'
