import { NumericError, OptionError } from '../core/errors.ts'
import type { AnyModule } from '../nn/module.ts'
import { readBatch } from './batch.ts'
import { batchesOf, type BatchList } from './data-source.ts'
import type { GradientCall, GradientOptions } from './gradient-call.ts'
import { saidIn } from './said-in.ts'

/** The smallest loss of all evaluations so far. */
export interface BestLoss {
  /** mean over all counted targets of the held-out batches */
  readonly loss: number
  /** after which it was measured */
  readonly step: number
}

/** A measurement on held-out batches. */
export interface Evaluation {
  /** mean over all counted targets of the held-out batches */
  readonly loss: number
  /** the best evaluation so far, this one included */
  readonly best: BestLoss
  /** whether this one is the best */
  readonly isBest: boolean
  /** evaluations since the best one */
  readonly sinceBest: number
}

/**
 * The mean loss over all targets of these batches, in evaluation mode.
 *
 * @throws {OptionError} when there is no batch
 * @throws {NumericError} when the loss is NaN or infinite
 */
export async function meanLoss(
  call: GradientCall,
  model: AnyModule,
  data: BatchList,
  options: Omit<GradientOptions, 'only' | 'seed'>,
): Promise<number> {
  const before = model.training
  let [sum, counted, index] = [0, 0, 0]
  try {
    model.eval()
    for await (const given of batchesOf(data, options.signal)) {
      const what = `evaluate: batch ${index++}`
      const { batch } = readBatch(what, given)
      const part = await call(model, batch, { ...options, only: [] }).catch((error: unknown) => {
        throw saidIn(what, error)
      })
      sum += part.loss * part.counted
      counted += part.counted
    }
  } finally {
    model.train(before)
  }
  if (index === 0) throw new OptionError('evaluate: expected at least one batch, got none')
  if (!Number.isFinite(sum)) throw new NumericError(`evaluate: expected a finite loss, got ${sum / counted}`)
  return sum / counted
}

/** What an evaluation says beside the best one before it. */
export function judge(
  loss: number,
  step: number,
  previous: { readonly best: BestLoss | null; readonly sinceBest: number },
): Evaluation {
  const isBest = previous.best === null || loss < previous.best.loss
  return isBest
    ? { loss, best: { loss, step }, isBest, sinceBest: 0 }
    : { loss, best: previous.best, isBest, sinceBest: previous.sinceBest + 1 }
}
