import { inductionTask, type Batch } from '../../../train/index.ts'
import { UsageError } from '../../usage-error.ts'
import type { TrainSettings } from '../train-settings.ts'
import { measureExactness } from './exactness.ts'
import type { Finding, Trained } from './prepared-task.ts'

/**
 * Rows of random tokens that repeat, among the rows of a text: they ask for an induction head, which a text alone forms
 * late.
 */
export interface Repeats {
  /** per batch */
  readonly rows: number
  readonly fact: string
  readonly training: (index: number) => Batch
  readonly finding: (trained: Trained) => Promise<Finding>
}

/** Short periods teach the head soon; longer ones and more tokens than these need many more steps. */
const SHORTEST = 3
const LONGEST = 32
const MOST_TOKENS = 32
const HELD_OUT_ROWS = 64
const RIGHT_SHARE = 0.9

/**
 * @param text whose most frequent tokens are repeated, in another order in each row
 * @returns null where the settings ask for none
 * @throws {UsageError} when no row would be left for one of the two, or windows are too short
 */
export function prepareRepeats({ repeats, batch, length, seed }: TrainSettings, text: Int32Array): Repeats | null {
  if (repeats === 0) return null
  const rows = Math.round(repeats * batch)
  if (rows === 0 || rows === batch)
    throw new UsageError(
      `--repeats: expected a share that gives the text and the repetitions a row each of the batch's ${batch}, got ${repeats}`,
    )
  const frequent = mostFrequent(text, MOST_TOKENS)
  const longest = Math.min(LONGEST, frequent.length, Math.floor(length / 2))
  if (longest < SHORTEST)
    throw new UsageError(
      `--repeats: expected windows of ${2 * SHORTEST} tokens or more, and ${SHORTEST} different ones, got ${length} and ${frequent.length}`,
    )
  const rowsOf = (count: number, own: number): ((index: number) => Batch) => {
    const sizes = { batch: count, length, symbols: frequent.length }
    const task = inductionTask({ ...sizes, shortest: SHORTEST, longest, seed: own })
    return (index) => withTokens(task(index), frequent)
  }
  const heldOut = rowsOf(HELD_OUT_ROWS, seed + 1_000_003)(0)
  return {
    rows,
    fact: `${rows} of ${batch} rows of a batch are ${frequent.length} frequent tokens in a random order that repeats after ${SHORTEST} to ${longest}`,
    training: rowsOf(rows, seed),
    finding: async (trained) => {
      const { right, counted } = await measureExactness(trained, [heldOut])
      const percent = (100 * right) / counted
      const detail = `${percent.toFixed(2)} % of ${counted}; chance ${(100 / frequent.length).toFixed(2)} %`
      return {
        name: `at least ${100 * RIGHT_SHARE} % of random tokens right when they repeat`,
        passed: right >= RIGHT_SHARE * counted,
        detail,
      }
    },
  }
}

/** Up to `most` tokens, the most frequent first. */
function mostFrequent(text: Int32Array, most: number): Int32Array {
  const counts = new Map<number, number>()
  for (const token of text) counts.set(token, (counts.get(token) ?? 0) + 1)
  const order = [...counts].sort(([a, timesA], [b, timesB]) => timesB - timesA || a - b)
  return Int32Array.from(order.slice(0, most), ([token]) => token)
}

/** The batch with a token for each symbol; targets that do not count stay as they are. */
function withTokens({ tokens, targets }: Batch, tokenOf: Int32Array): Batch {
  if (tokens === undefined || targets === undefined) throw new TypeError('expected a batch of tokens')
  const named = ({ data, shape }: Tokens): Tokens => ({ data: data.map((symbol) => tokenOf[symbol] ?? symbol), shape })
  return { tokens: named(tokens), targets: named(targets) }
}

/** Batches with the rows of both, the first one's before the second one's. */
export function joined(first: (index: number) => Batch, second: (index: number) => Batch): (index: number) => Batch {
  return (index) => {
    const [a, b] = [first(index), second(index)]
    if (a.tokens === undefined || b.tokens === undefined || a.targets === undefined || b.targets === undefined)
      throw new TypeError('expected batches of tokens')
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
