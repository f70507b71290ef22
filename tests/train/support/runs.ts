import { crossEntropy } from '../../../src/train/losses.ts'
import { AdamW } from '../../../src/train/optimizers/adam.ts'
import type { TrainOptions } from '../../../src/train/train-options.ts'
import { trainWith } from '../../../src/train/train.ts'
import type { TrainStep } from '../../../src/train/training-run.ts'
import { tinyBatch, tinyGradients, type TinyModel } from './tiny-model.ts'

export type Options = Partial<TrainOptions>

/** A run over generated batches with AdamW, unless the options say otherwise. */
export function tinyRun(
  model: TinyModel,
  options: Options = {},
  call = tinyGradients(),
): AsyncGenerator<TrainStep, void, undefined> {
  const defaults = {
    data: (index: number) => tinyBatch(index),
    loss: crossEntropy(),
    optimizer: new AdamW(model, { learningRate: 0.05 }),
    steps: 10,
  }
  return trainWith(call, model, { ...defaults, ...options })
}

/** All steps of a run. */
export async function stepsOf(run: AsyncIterable<TrainStep>): Promise<TrainStep[]> {
  const steps: TrainStep[] = []
  for await (const step of run) steps.push(step)
  return steps
}

export const valuesOf = (model: TinyModel): number[] => model.parameters().flatMap(({ data }) => Array.from(data))
