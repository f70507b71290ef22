import { philoxWords, type SeedWords } from '../core/philox.ts'
import { seedValue } from '../core/seed.ts'
import type { Tensor } from '../core/tensor.ts'
import type { AnyModule } from '../nn/module.ts'
import type { Batch } from './batch.ts'
import type { GradientCall, GradientOptions } from './gradient-call.ts'
import { PacedLoop } from './paced-loop.ts'
import { saidIn } from './said-in.ts'

/** The loss and the gradients of one step, means over all targets of its batches. */
export interface StepGradients {
  readonly loss: number
  readonly counted: number
  readonly gradients: Map<string, Tensor>
  /** the last one that ran */
  readonly batch: Batch
  /** of that batch */
  readonly report: unknown
}

export interface StepInputs {
  readonly call: GradientCall
  readonly model: AnyModule
  readonly batches: readonly Batch[]
  readonly options: Omit<GradientOptions, 'seed'>
  readonly seed: SeedWords
  /** of the run, from 0 */
  readonly index: number
  /** the number in the run of the first of the batches */
  readonly firstBatch: number
}

/**
 * Runs the batches one after the other, in training mode, and averages what comes out by how many targets each counts.
 * The loss and the gradients may be NaN or infinite: then the batches after it are left out.
 */
export async function stepGradients({
  call,
  model,
  batches,
  options,
  seed,
  index,
  firstBatch,
}: StepInputs): Promise<StepGradients> {
  const first = batches[0]
  if (first === undefined) throw new RangeError('stepGradients: expected at least one batch, got none')
  const run = async (batch: Batch, place: number): Promise<StepGradients> => {
    const result = await inTrainingMode(model, () =>
      call(model, batch, { ...options, seed: batchSeed(seed, index, place) }),
    ).catch((error: unknown) => {
      throw saidIn(`train: batch ${firstBatch + place}`, error)
    })
    return { ...result, batch }
  }
  let sum = await run(first, 0)
  for (let place = 1; place < batches.length && Number.isFinite(sum.loss); place++) {
    sum = await merged(sum, await run(batches[place] as Batch, place), options.signal)
  }
  return sum
}

/** The mode holds only while `body` runs, so that other code finds the model as it left it. */
async function inTrainingMode<T>(model: AnyModule, body: () => Promise<T>): Promise<T> {
  const before = model.training
  model.train()
  try {
    return await body()
  } finally {
    model.train(before)
  }
}

/** The seed of batch `place` of step `index`. */
function batchSeed(seed: SeedWords, index: number, place: number): bigint {
  const words = new Uint32Array(4)
  philoxWords(words, seed, index, place, 0, 0xfffffffd)
  return seedValue({ seedLow: words[0] ?? 0, seedHigh: words[1] ?? 0 })
}

/**
 * The mean of both, each by its count. The gradients of `sum` are overwritten; a gradient that is missing in one counts
 * as 0.
 */
async function merged(
  sum: StepGradients,
  part: StepGradients,
  signal: AbortSignal | undefined,
): Promise<StepGradients> {
  const counted = sum.counted + part.counted
  const [before, after] = [sum.counted / counted, part.counted / counted]
  const loop = new PacedLoop(signal)
  const gradients = new Map(sum.gradients)
  for (const [name, { data: next, shape }] of part.gradients) {
    const { data } = gradients.get(name) ?? { data: new Float32Array(next.length) }
    gradients.set(name, { data, shape })
    await loop.run(data.length, (start, end) => {
      for (let element = start; element < end; element++)
        data[element] = before * (data[element] ?? 0) + after * (next[element] ?? 0)
    })
  }
  return { ...part, loss: before * sum.loss + after * part.loss, counted, gradients }
}
