import { formatInteger } from '../../terminal/format.ts'
import type { Batch, TaskOptions } from '../../../train/index.ts'

/** One part of a run: batches of one shape. */
export interface GrowthStage {
  /** the number of its first batch */
  readonly from: number
  readonly batch: number
  readonly length: number
}

type Sizes = Pick<TaskOptions, 'batch' | 'length'>

/** Rows of up to so many tokens need not grow. */
export const LONG_ROWS = 64
/** Of all steps: those with the shortest rows, where the circuit forms, and those with rows of the whole length. */
const FIRST_SHARE = 0.35
const LAST_SHARE = 0.35

/**
 * How rows grow to their length: it is halved down to `shortest`, or a little more, and a batch has twice the rows each
 * time, so that its number of tokens stays. Among few keys, the one that a head has to find gets a share of its
 * attention, and with it a gradient, from the start; among a thousand it does not. Where to look by distance and by
 * content, once it has been learned, holds in longer rows (sequence length warm-up: Li, Zhang and He 2022, arXiv
 * 2108.06084).
 *
 * @returns one stage where rows are short
 */
export function growthStages({ batch, length }: Sizes, steps: number, shortest: number): GrowthStage[] {
  if (length <= Math.max(LONG_ROWS, shortest)) return [{ from: 0, batch, length }]
  const halvings = Math.max(1, Math.floor(Math.log2(length / shortest)))
  const [first, last] = [Math.round(FIRST_SHARE * steps), Math.round((1 - LAST_SHARE) * steps)]
  const starts = Array.from({ length: halvings }, (_, index) =>
    index === 0 ? 0 : first + Math.round(((last - first) * (index - 1)) / Math.max(1, halvings - 1)),
  )
  return [...starts, last].map((from, index) => {
    const factor = 2 ** (halvings - index)
    return { from, batch: batch * factor, length: Math.floor(length / factor) }
  })
}

/**
 * Batch k of the stage that k belongs to.
 *
 * @param make batches of one shape
 * @param isReview which batches have the shortest rows all the same: what long rows ask for too rarely to teach it,
 *   such as what follows the very first token, is not unlearned then
 */
export function growing(
  stages: readonly GrowthStage[],
  make: (sizes: Sizes) => (index: number) => Batch,
  isReview: (index: number) => boolean = () => false,
): (index: number) => Batch {
  const made = stages.map(({ from, batch, length }) => ({ from, at: make({ batch, length }) }))
  return (index) => {
    const stage = isReview(index) ? made[0] : (made.findLast(({ from }) => from <= index) ?? made[0])
    if (stage === undefined) throw new RangeError('growing: expected at least one stage, got none')
    return stage.at(index)
  }
}

/** For what is said before a run; nothing where rows do not grow. */
export function describeGrowth(stages: readonly GrowthStage[]): string {
  return stages.length === 1
    ? ''
    : `; rows grow: ${stages.map(({ length }) => formatInteger(length)).join(', ')} tokens`
}
