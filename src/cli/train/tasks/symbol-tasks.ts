import { copyTask, inductionTask, reverseTask, type Batch, type TaskOptions } from '../../../train/index.ts'
import { formatInteger } from '../../terminal/format.ts'
import type { TrainSettings } from '../train-settings.ts'
import { hashOf, type Finding, type PreparedTask, type Trained } from './prepared-task.ts'

interface SymbolTask {
  readonly make: (options: TaskOptions) => (index: number) => Batch
  /** tokens beside the symbols */
  readonly marks: number
  readonly describe: (settings: TrainSettings) => string
}

const SYMBOL_TASKS: Readonly<Record<'copy' | 'reverse' | 'induction', SymbolTask>> = {
  copy: { make: copyTask, marks: 1, describe: ({ length, symbols }) => `copy ${length / 2} symbols out of ${symbols}` },
  reverse: { make: reverseTask, marks: 1, describe: ({ length, symbols }) => `reverse ${length / 2} symbols out of ${symbols}` },
  induction: {
    make: inductionTask,
    marks: 0,
    describe: ({ length, symbols }) => `what followed this symbol before? ${formatInteger(length)} tokens out of ${symbols} symbols, which repeat after ${formatInteger(Math.floor(length / 4))} to ${formatInteger(Math.floor(length / 2))}`,
  },
}

/** Held out: so many batches, out of other random numbers than those that train. */
const HELD_OUT_SEQUENCES = 256
const EXACT_SHARE = 0.99

export function prepareSymbols(settings: TrainSettings & { readonly task: 'copy' | 'reverse' | 'induction' }): PreparedTask {
  const { task, batch, length, symbols, seed } = settings
  const { make, marks, describe } = SYMBOL_TASKS[task]
  const heldOut = make({ batch, length, symbols, seed: seed + 1_000_003 })
  const validation = Array.from({ length: Math.max(1, Math.ceil(HELD_OUT_SEQUENCES / batch / (length >= 512 ? 8 : 1))) }, (_, index) => heldOut(index))
  const chance = Math.log(symbols)
  return {
    vocabulary: symbols + marks,
    pieces: null,
    dataHash: hashOf(JSON.stringify([task, batch, length, symbols, seed])),
    facts: [`${describe(settings)}; ${validation.length * batch} sequences held out`],
    training: make({ batch, length, symbols, seed }),
    validation,
    // symbols are drawn evenly: neither how frequent one is nor the one before it tells anything
    baselines: { chance, unigram: chance, bigram: chance },
    finish: async (trained) => ({ findings: [await exactness(trained, validation)], note: '', samples: [] }),
  }
}

/** How many held-out sequences the likeliest tokens answer without a mistake: what decoding token by token would write. */
async function exactness({ model, runtime, signal }: Trained, validation: readonly Batch[]): Promise<Finding> {
  let [exact, sequences, right, counted] = [0, 0, 0, 0]
  for (const { tokens, targets } of validation) {
    if (tokens === undefined || targets === undefined) continue
    const { output } = await model.forward(tokens, { runtime, signal })
    const [rows = 0, length = 0] = tokens.shape
    for (let row = 0; row < rows; row++) {
      const mistakes = countMistakes(output.data, targets.data, { start: row * length, end: (row + 1) * length, width: model.vocabulary })
      if (mistakes.wrong === 0) exact++
      right += mistakes.counted - mistakes.wrong
      counted += mistakes.counted
    }
    sequences += rows
  }
  const detail = `${exact} of ${sequences} without a mistake, ${((100 * right) / counted).toFixed(2)} % of the tokens`
  return { name: `at least ${100 * EXACT_SHARE} % of held-out sequences exact`, passed: exact >= EXACT_SHARE * sequences, detail }
}

function countMistakes(logits: Float32Array, targets: Int32Array, { start, end, width }: { readonly start: number; readonly end: number; readonly width: number }): { readonly wrong: number; readonly counted: number } {
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
