export { analyzeAttention, type AnalyzeAttentionOptions, type AnalyzedInputs } from './analyze-attention.ts'
export type { AnalysisOptions, AnalysisProgress, PositionPair, WeightOptions } from './analysis-options.ts'
export type {
  AttentionAnalysis, Bucket, HeadAnalysis, HeadDivergence, KeyShare, KeyShares, LayerAnalysis, MassName, MeasureName, ModelAnalysis, RelationScore, Role, RoleRule,
  RolloutRow, Score, ScoreName,
} from './report.ts'
