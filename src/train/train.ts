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
 *
 * @example
 * ```js
 * import { CausalLanguageModel } from 'heddle/nn'
 * import { AdamW, copyTask, cosineAnnealing, crossEntropy, train } from 'heddle/train'
 *
 * const model = new CausalLanguageModel({ vocabulary: 9, modelDim: 32, heads: 2, layers: 2, seed: 1 })
 * const steps = 20
 * for await (const { step, loss } of train(model, {
 *   data: copyTask({ batch: 8, length: 16, symbols: 8, seed: 1 }),
 *   loss: crossEntropy(),
 *   optimizer: new AdamW(model, { learningRate: 3e-3 }),
 *   schedule: cosineAnnealing({ steps, warmup: 5 }),
 *   clipNorm: 1,
 *   steps,
 * }))
 *   if (step % 10 === 0) console.log(step, loss)
 * ```
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
