/**
 * Losses, optimizers, schedules, gradient clipping, a training loop with checkpoints, and data. Each piece also
 * works alone.
 *
 * @module heddle/train
 */

export type { Batch } from './batch.ts'
export {
  crossEntropy,
  meanSquaredError,
  type CrossEntropy,
  type CrossEntropyOptions,
  type Loss,
  type MeanSquaredError,
} from './losses.ts'
export { lossAndGradients } from './loss-and-gradients.ts'
export type { GradientOptions, GradientResult } from './gradient-call.ts'
export { train } from './train.ts'
export type { Gradients } from './gradients.ts'
export { clipFactor, clipGradNorm, clipGradValue, gradientNorm, type NormOptions } from './clip.ts'
export type { ElementReport } from './elements/run-elements.ts'
export { constant, cosineAnnealing, linear, type DecayOptions, type Schedule } from './schedules.ts'
export { Optimizer, type OptimizerDescription, type StepOptions } from './optimizers/optimizer.ts'
export type { OptimizerState } from './optimizers/optimizer-state.ts'
export type { ParameterGroup, ResolvedGroup, Trainable } from './optimizers/parameter-groups.ts'
export { SGD, type SGDHyperparameters, type SGDOptions } from './optimizers/sgd.ts'
export { Adam, AdamW, type AdamHyperparameters, type AdamOptions } from './optimizers/adam.ts'
export type { TrainOptions, EvaluateOptions, CheckpointOptions } from './train-options.ts'
export type { TrainStep } from './training-run.ts'
export type { BestLoss, Evaluation } from './evaluation.ts'
export type { BatchList, BatchSource } from './data-source.ts'
export { readCheckpoint, type Checkpoint, type Progress } from './checkpoint.ts'
export { CharacterTokenizer, WordTokenizer, type Tokenizer, type WordTokenizerOptions } from './data/tokenizers.ts'
export { splitText, windowBatches, windowsInOrder, type WindowOptions } from './data/windows.ts'
export { sequenceBatches, sequencesInOrder, splitItems, type SequenceOptions } from './data/sequences.ts'
export { copyTask, inductionTask, reverseTask, type InductionOptions, type TaskOptions } from './data/tasks.ts'
export { baselines, type Baselines } from './data/baselines.ts'
