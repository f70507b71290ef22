/**
 * Models from their own files (`config.json`, safetensors, `tokenizer.json`), and embeddings of whole documents.
 *
 * @module heddle/models
 */

export { loadModel, planModel, type LoadModelOptions } from './load-model.ts'
export type { ModelPlan } from './model-plan.ts'
export type { LoadedModel } from './loaded-model.ts'
export type { MaybeBytes, ModelSource } from './model-source.ts'
export type { LoadProgress, WeightReport } from './read-weights.ts'
export type { SpecialTokens, Tokenizer } from './tokenizer.ts'
export type { DocumentDetails, EmbedInput, TokenSpan } from './documents.ts'
export type { EmbedOptions, EmbedProgress } from './embed-options.ts'
export type { DocumentEmbedding, EmbedReport } from './embedder.ts'
export { MODEL_TYPES } from './families/index.ts'
export { normalise, poolRows, type Pooling } from './pooling.ts'
export type { TooLong } from './pieces.ts'
export { TransformerModel, type TransformerForward } from './transformer-model.ts'
export { EmbeddingModel } from './embedding-model.ts'
export { HubLanguageModel } from './language-model.ts'
export type {
  Architecture,
  AttentionSpec,
  BlockSpec,
  EmbeddingsSpec,
  FeedForwardSpec,
  LinearSpec,
  NormSpec,
  TableSpec,
} from './architecture.ts'
