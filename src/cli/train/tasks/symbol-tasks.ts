import { copyTask, inductionTask, reverseTask, type Batch, type TaskOptions } from '../../../train/index.ts'
import { formatInteger } from '../../terminal/format.ts'
import type { TrainSettings } from '../train-settings.ts'
import { exactFinding, measureExactness } from './exactness.ts'
import { hashOf, type PreparedTask } from './prepared-task.ts'

interface SymbolTask {
  /** makes what the model learns from */
  readonly training: (options: TaskOptions) => (index: number) => Batch
  readonly heldOut: (options: TaskOptions) => (index: number) => Batch
  /** tokens beside the symbols */
  readonly marks: number
  readonly describe: (settings: TrainSettings) => string
}

const SYMBOL_TASKS: Readonly<Record<'copy' | 'reverse' | 'induction', SymbolTask>> = {
  copy: {
    training: copyTask,
    heldOut: copyTask,
    marks: 1,
    describe: ({ length, symbols }) => `copy ${length / 2} symbols out of ${symbols}`,
  },
  reverse: {
    training: reverseTask,
    heldOut: reverseTask,
    marks: 1,
    describe: ({ length, symbols }) => `reverse ${length / 2} symbols out of ${symbols}`,
  },
  induction: {
    // Short periods teach what long ones then ask for.
    training: (options) => inductionTask({ ...options, shortest: SHORTEST, longest: longestPeriod(options) }),
    heldOut: (options) =>
      inductionTask({ ...options, shortest: Math.ceil(longestPeriod(options) / 4), longest: longestPeriod(options) }),
    marks: 0,
    describe: (settings) =>
      `what followed this symbol before? ${formatInteger(settings.length)} tokens out of ${settings.symbols} symbols, which repeat after ${SHORTEST} to ${longestPeriod(settings)} (held out: after ${Math.ceil(longestPeriod(settings) / 4)} or more)`,
  },
}

const SHORTEST = 3

function longestPeriod({ symbols, length }: Pick<TaskOptions, 'symbols' | 'length'>): number {
  return Math.min(symbols, Math.floor(length / 2))
}

/** Held out: so many batches, out of other random numbers than those that train. */
const HELD_OUT_SEQUENCES = 256

/** Batches of a task that are drawn from another seed than those that train. */
export function heldOutBatches({ task, batch, length, symbols, seed }: SymbolSettings): (index: number) => Batch {
  return SYMBOL_TASKS[task].heldOut({ batch, length, symbols, seed: seed + 1_000_003 })
}

type SymbolSettings = Pick<TrainSettings, 'batch' | 'length' | 'symbols' | 'seed'> & {
  readonly task: keyof typeof SYMBOL_TASKS
}

export function prepareSymbols(
  settings: TrainSettings & { readonly task: 'copy' | 'reverse' | 'induction' },
): PreparedTask {
  const { task, batch, length, symbols, seed } = settings
  const { training, marks, describe } = SYMBOL_TASKS[task]
  const heldOutAt = heldOutBatches(settings)
  const validation = Array.from(
    { length: Math.max(1, Math.ceil(HELD_OUT_SEQUENCES / batch / (length >= 512 ? 8 : 1))) },
    (_, index) => heldOutAt(index),
  )
  const chance = Math.log(symbols)
  return {
    vocabulary: symbols + marks,
    pieces: null,
    dataHash: hashOf(JSON.stringify([task, batch, length, symbols, seed])),
    facts: [`${describe(settings)}; ${validation.length * batch} sequences held out`],
    training: training({ batch, length, symbols, seed }),
    validation,
    // symbols are drawn evenly: neither how frequent one is nor the one before it tells anything
    baselines: { chance, unigram: chance, bigram: chance },
    finish: async (trained) => ({
      findings: [exactFinding(await measureExactness(trained, validation))],
      note: '',
      samples: [],
    }),
  }
}
