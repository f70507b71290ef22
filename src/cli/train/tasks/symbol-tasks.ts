import { copyTask, inductionTask, reverseTask, type Batch, type TaskOptions } from '../../../train/index.ts'
import { formatInteger } from '../../terminal/format.ts'
import type { TrainSettings } from '../train-settings.ts'
import { exactFinding, measureExactness } from './exactness.ts'
import { hashOf, type PreparedTask } from './prepared-task.ts'

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
    finish: async (trained) => ({ findings: [exactFinding(await measureExactness(trained, validation))], note: '', samples: [] }),
  }
}
