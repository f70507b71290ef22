import { copyTask, inductionTask, reverseTask, type Batch, type TaskOptions } from '../../../train/index.ts'
import { formatInteger } from '../../terminal/format.ts'
import type { TrainSettings } from '../train-settings.ts'
import { describeGrowth, growing, growthStages } from './growing-lengths.ts'
import { exactFinding, measureExactness } from './exactness.ts'
import { hashOf, type PreparedTask } from './prepared-task.ts'

interface SymbolTask {
  /** makes what the model learns from in so many steps */
  readonly training: (options: TaskOptions, steps: number) => (index: number) => Batch
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
    // Short rows and short periods teach what long ones then ask for.
    training: (options, steps) =>
      growing(
        growthStages(options, steps, SHORTEST_ROWS),
        (sizes) => inductionTask({ ...options, ...sizes, ...periods(options, sizes) }),
        // In turns, so that the last batch has the whole length.
        (index) => (steps - index) % 2 === 0,
      ),
    heldOut: (options) => inductionTask({ ...options, ...heldOutPeriods(options) }),
    marks: 0,
    describe: (settings) => {
      const { length, symbols, steps } = settings
      const stages = growthStages(settings, steps, SHORTEST_ROWS)
      const { shortest, longest } = heldOutPeriods(settings)
      return `what followed this symbol before? ${formatInteger(length)} tokens out of ${symbols} symbols, which repeat after ${SHORTEST} to ${longest} (held out: after ${shortest} or more)${describeGrowth(stages)}`
    },
  },
}

/** Of a period, and of rows while they grow. */
const SHORTEST = 3
const SHORTEST_ROWS = 16

interface Periods {
  readonly shortest: number
  readonly longest: number
}

/** Of rows of that length. */
function periods({ symbols }: Pick<TaskOptions, 'symbols'>, { length }: Pick<TaskOptions, 'length'>): Periods {
  return { shortest: SHORTEST, longest: Math.min(symbols, Math.floor(length / 2)) }
}

/** What has to be found lies far back. */
function heldOutPeriods(options: Pick<TaskOptions, 'symbols' | 'length'>): Periods {
  const { longest } = periods(options, options)
  return { shortest: Math.ceil(longest / 4), longest }
}

/** Held out, out of other random numbers than those that train: so many sequences, or so many tokens of long ones. */
const HELD_OUT_SEQUENCES = 256
const HELD_OUT_TOKENS = 131_072

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
  const { task, batch, length, symbols, seed, steps } = settings
  const { training, marks, describe } = SYMBOL_TASKS[task]
  const heldOutAt = heldOutBatches(settings)
  const validation = Array.from(
    { length: Math.max(1, Math.ceil(Math.min(HELD_OUT_SEQUENCES, HELD_OUT_TOKENS / length) / batch)) },
    (_, index) => heldOutAt(index),
  )
  const chance = Math.log(symbols)
  return {
    vocabulary: symbols + marks,
    pieces: null,
    dataHash: hashOf(JSON.stringify([task, batch, length, symbols, seed])),
    facts: [`${describe(settings)}; ${validation.length * batch} sequences held out`],
    training: training({ batch, length, symbols, seed }, steps),
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
