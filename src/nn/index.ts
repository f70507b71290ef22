/**
 * Layers and models with PyTorch's parameter names, their gradients and plans, safetensors, and the operations for
 * layers of your own.
 *
 * @module heddle/nn
 */

export { Module, type AnyModule, type StateDict } from './module.ts'
export { Parameter } from '../program/parameter.ts'
export type { GivenState, LoadOptions, LoadReport } from './state/state-dict.ts'
export {
  constant,
  heNormal,
  heUniform,
  normal,
  xavierNormal,
  xavierUniform,
  type RowRange,
  type WeightInitialisation,
} from './initialisers.ts'
export { readSafetensors, readStateDict, writeSafetensors, type SafetensorsContent } from './state/safetensors.ts'
export type { ByteSource } from './state/byte-reader.ts'
export type { Seed } from '../core/seed.ts'
export type { ForwardOptions, LayerResult, TraceEvent } from './forward-options.ts'
export type { BackwardOptions, BackwardResult } from './run-backward.ts'
export { NORM_RATIO_LIMIT, type NormEvent } from './norm-monitor.ts'
export type { LayerPlan } from '../program/plan.ts'
export type { LayerReport } from '../program/run.ts'
export { Graph, type GraphOptions } from '../program/graph.ts'
export { wholeWeight, type Value, type WeightView } from '../program/operation.ts'
export { activate, add, drop, multiply } from '../program/operations/elementwise.ts'
export { embed } from '../program/operations/embed.ts'
export { linear } from '../program/operations/linear.ts'
export { norm } from '../program/operations/norm.ts'
export { pool, type PoolSegments, type RowPooling } from '../program/operations/pool.ts'
export { rotate } from '../program/operations/positions.ts'
export { rmsNorm } from '../program/operations/rms-norm.ts'
export { rmsNormHeads } from '../program/operations/rms-norm-heads.ts'
export { Linear, type LinearOptions } from './layers/linear.ts'
export { LayerNorm, type LayerNormOptions } from './layers/layer-norm.ts'
export { RMSNorm } from './layers/rms-norm.ts'
export { Dropout } from './layers/dropout.ts'
export { Embedding, type EmbeddingOptions } from './layers/embedding.ts'
export { FeedForward, type FeedForwardOptions } from './layers/feed-forward.ts'
export { PositionalEncoding, sinusoidalTable, type PositionalEncodingOptions } from './layers/positional-encoding.ts'
export {
  MultiHeadAttention,
  type AttentionDetails,
  type MultiHeadAttentionForward,
  type MultiHeadAttentionResult,
} from './layers/multi-head-attention.ts'
export type { RotaryOptions, RotaryScaling } from './layers/rotary-frequencies.ts'
export type { MultiHeadAttentionOptions } from './layers/attention-projections.ts'
export type { LayerAttentionOptions } from './layers/layer-attention-options.ts'
export { TransformerBlock, type BlockForward, type TransformerBlockOptions } from './layers/transformer-block.ts'
export { TransformerEncoder, type StackForward, type TransformerEncoderOptions } from './layers/transformer-encoder.ts'
export { KeyValueCache, type KeyValueCacheSizes } from './key-value-cache.ts'
export {
  CausalLanguageModel,
  type CausalLanguageModelOptions,
  type LanguageModelForward,
} from './layers/causal-language-model.ts'
export type { GenerateOptions, GeneratedToken, SampledRow } from './generation/options.ts'
export type { Prompt } from './generation/prompts.ts'
export type { TokenReach } from './layers/token-reach.ts'
export {
  validateAttention,
  type AttentionCheck,
  type AttentionValidation,
  type ValidateOptions,
} from './validate-attention.ts'
