/**
 * What the heads of a model attend to, beside baselines, in memory that is linear in the length of the sequence.
 *
 * @module heddle/analysis
 */

export { analyzeAttention, type AnalyzeAttentionOptions, type AnalyzedInputs } from './analyze-attention.ts'
export { analyzeModel, type AnalyzeModelOptions } from './analyze-model.ts'
export {
  learningStages,
  ROLE_TITLES,
  roleTitle,
  type HeadTimeline,
  type LearningStages,
  type RoleChange,
  type StageRow,
} from './learning-stages.ts'
export { Probe, type ProbedHead, type ProbeOptions, type ProbeRecord } from './probe.ts'
export type { AnalysisOptions, AnalysisProgress, PositionPair } from './analysis-options.ts'
export type { WeightOptions } from '../attention/weight-options.ts'
export type {
  AttentionAnalysis,
  Bucket,
  HeadAnalysis,
  HeadDivergence,
  KeyShare,
  KeyShares,
  LayerAnalysis,
  MassName,
  MeasureName,
  ModelAnalysis,
  RelationScore,
  Role,
  RoleRule,
  RolloutRow,
  Score,
  ScoreName,
} from './report.ts'
