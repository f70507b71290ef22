import type { Batch } from '../../../train/index.ts'
import type { Finding, Trained } from './prepared-task.ts'

/** What the likeliest tokens answer, against the right answers. */
export interface Exactness {
  readonly sequences: number
  /** sequences without a mistake */
  readonly exact: number
  /** targets that count, and those that were the likeliest token */
  readonly counted: number
  readonly right: number
}

type Asking = Pick<Trained, 'model' | 'runtime' | 'signal'>

const EXACT_SHARE = 0.99

/**
 * How many held-out sequences the likeliest tokens answer without a mistake: what decoding token by token would write.
 */
export async function measureExactness(
  { model, runtime, signal }: Asking,
  validation: readonly Batch[],
): Promise<Exactness> {
  const sum = { sequences: 0, exact: 0, counted: 0, right: 0 }
  for (const { tokens, targets } of validation) {
    if (tokens === undefined || targets === undefined) continue
    const { output } = await model.forward(tokens, { runtime, signal })
    const [rows = 0, length = 0] = tokens.shape
    for (let row = 0; row < rows; row++) {
      const { wrong, counted } = countMistakes(output.data, targets.data, {
        start: row * length,
        end: (row + 1) * length,
        width: model.vocabulary,
      })
      if (wrong === 0) sum.exact++
      sum.right += counted - wrong
      sum.counted += counted
    }
    sum.sequences += rows
  }
  return sum
}

/** The verdict of a task whose sequences have one right answer. */
export function exactFinding({ sequences, exact, counted, right }: Exactness): Finding {
  const detail = `${exact} of ${sequences} without a mistake, ${((100 * right) / counted).toFixed(2)} % of the tokens`
  return {
    name: `at least ${100 * EXACT_SHARE} % of held-out sequences exact`,
    passed: exact >= EXACT_SHARE * sequences,
    detail,
  }
}

interface Row {
  readonly start: number
  readonly end: number
  /** logits per place */
  readonly width: number
}

/** A tie is a mistake, and so is a logit that is NaN. */
function countMistakes(
  logits: Float32Array,
  targets: Int32Array,
  { start, end, width }: Row,
): { readonly wrong: number; readonly counted: number } {
  let [wrong, counted] = [0, 0]
  for (let place = start; place < end; place++) {
    const target = targets[place] ?? -1
    if (target < 0) continue
    counted++
    const row = logits.subarray(place * width, (place + 1) * width)
    const own = row[target] ?? NaN
    if (row.some((logit, token) => token !== target && !(logit < own))) wrong++
  }
  return { wrong, counted }
}
