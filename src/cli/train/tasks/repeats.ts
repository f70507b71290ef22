import { inductionTask, type Batch } from '../../../train/index.ts'
import { UsageError } from '../../usage-error.ts'
import type { TrainSettings } from '../train-settings.ts'
import { measureExactness } from './exactness.ts'
import type { Finding, Trained } from './prepared-task.ts'

/** Rows of random tokens that repeat, among the rows of a text: they ask for an induction head, which a text alone forms late. */
export interface Repeats {
  /** per batch */
  readonly rows: number
  readonly fact: string
  readonly training: (index: number) => Batch
  readonly finding: (trained: Trained) => Promise<Finding>
}

/** Short periods teach the head soon. */
const SHORTEST = 2
const HELD_OUT_ROWS = 64
const RIGHT_SHARE = 0.9

/** @returns null where the settings ask for none. @throws {UsageError} when no row would be left for one of the two */
export function prepareRepeats({ repeats, batch, length, seed }: TrainSettings, vocabulary: number): Repeats | null {
  if (repeats === 0) return null
  const rows = Math.round(repeats * batch)
  if (rows === 0 || rows === batch) throw new UsageError(`--repeats: expected a share that gives the text and the repetitions a row each of the batch's ${batch}, got ${repeats}`)
  const options = { length, symbols: vocabulary, shortest: SHORTEST, longest: Math.min(vocabulary, Math.floor(length / 2)) }
  const heldOut = inductionTask({ ...options, batch: HELD_OUT_ROWS, seed: seed + 1_000_003 })(0)
  return {
    rows,
    fact: `${rows} of ${batch} rows of a batch are random tokens that repeat after ${SHORTEST} to ${options.longest}`,
    training: inductionTask({ ...options, batch: rows, seed }),
    finding: async (trained) => {
      const { right, counted } = await measureExactness(trained, [heldOut])
      const percent = (100 * right) / counted
      return { name: `at least ${100 * RIGHT_SHARE} % of random tokens right when they repeat`, passed: right >= RIGHT_SHARE * counted, detail: `${percent.toFixed(2)} % of ${counted}; chance ${(100 / vocabulary).toFixed(2)} %` }
    },
  }
}

/** Batches with the rows of both, the first one's before the second one's. */
export function joined(first: (index: number) => Batch, second: (index: number) => Batch): (index: number) => Batch {
  return (index) => {
    const [a, b] = [first(index), second(index)]
    if (a.tokens === undefined || b.tokens === undefined || a.targets === undefined || b.targets === undefined) throw new TypeError('expected batches of tokens')
    return { tokens: stacked(a.tokens, b.tokens), targets: stacked(a.targets, b.targets) }
  }
}

type Tokens = NonNullable<Batch['tokens']>

function stacked(a: Tokens, b: Tokens): Tokens {
  const data = new Int32Array(a.data.length + b.data.length)
  data.set(a.data)
  data.set(b.data, a.data.length)
  return { data, shape: [(a.shape[0] ?? 0) + (b.shape[0] ?? 0), a.shape[1] ?? 0] }
}
