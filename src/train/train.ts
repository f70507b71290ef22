import type { Module } from '../nn/module.ts'
import type { GradientCall } from './gradient-call.ts'
import { resolveTraining, type TrainOptions } from './train-options.ts'
import { TrainingRun, type TrainStep } from './training-run.ts'

/** `train` with the function that computes gradients. */
export function trainWith(call: GradientCall, model: Module, options: TrainOptions): AsyncGenerator<TrainStep, void, undefined> {
  return new TrainingRun(model, resolveTraining(model, options), call).steps()
}
