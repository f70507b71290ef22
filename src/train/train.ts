import type { AnyModule } from '../nn/module.ts'
import type { GradientCall } from './gradient-call.ts'
import { lossAndGradients } from './loss-and-gradients.ts'
import { resolveTraining, type TrainOptions } from './train-options.ts'
import { TrainingRun, type TrainStep } from './training-run.ts'

/**
 * Trains a model, as an iterator over steps: each step's result is yielded after the parameters have changed. Leaving
 * the loop ends the run.
 *
 * @param model its output is [B, M, V] logits for `crossEntropy`, [B, M, E] for `meanSquaredError`
 * @throws {OptionError} when it is called with wrong options; while it runs, {NumericError} for a loss that is not
 *   finite and whatever `lossAndGradients` throws
 */
export function train(model: AnyModule, options: TrainOptions): AsyncGenerator<TrainStep, void, undefined> {
  return trainWith(lossAndGradients, model, options)
}

/** `train` with the function that computes gradients. */
export function trainWith(
  call: GradientCall,
  model: AnyModule,
  options: TrainOptions,
): AsyncGenerator<TrainStep, void, undefined> {
  return new TrainingRun(model, resolveTraining(model, options), call).steps()
}
