import type { AttentionResult, Tensor } from '../../index.ts'
import { countWords, occurrences, type WordSequence } from './words.ts'

/** Known by heart to readers of the book; other texts are sampled by rank alone. */
const FAVOURITES = ['whale', 'ahab', 'sea', 'ishmael']
const SAMPLES = 8
const TOLERANCE = 1e-3

/** A word whose row of weights is looked at: the row of its first token. */
export interface SampleWord {
  readonly id: number
  readonly word: string
  readonly count: number
  readonly row: number
}

/** What the weights of one sample word's row are, beside what they must be. */
export interface WordFinding extends SampleWord {
  readonly entropy: number
  readonly expectedEntropy: number
  /** largest |weight · count − 1| over the word's occurrences */
  readonly worstWeightError: number
  /** sum of the weights at all other words */
  readonly weightElsewhere: number
}

export interface Check {
  readonly name: string
  readonly passed: boolean
  readonly detail: string
}

export interface SelfCheck {
  readonly checks: readonly Check[]
  readonly words: readonly WordFinding[]
}

/** Favourites that occur, then words spread by rank: from the most frequent one to those that stand once. */
export function sampleWords(words: WordSequence): SampleWord[] {
  const counts = countWords(words)
  const byCount = words.vocabulary
    .map((word, id) => ({ word, id, count: counts[id] ?? 0 }))
    .sort((a, b) => b.count - a.count || a.id - b.id)
  const ranks = Array.from(
    { length: SAMPLES },
    (_, step) => Math.round((byCount.length - 1) ** (step / (SAMPLES - 1))) - (step === 0 ? 1 : 0),
  )
  const candidates = [
    ...FAVOURITES.map((word) => byCount.find((entry) => entry.word === word)),
    ...ranks.map((rank) => byCount[rank]),
  ]
  const distinct = new Map(candidates.flatMap((entry) => (entry === undefined ? [] : [[entry.id, entry] as const])))
  return [...distinct.values()].slice(0, SAMPLES).map((entry) => ({ ...entry, row: words.ids.indexOf(entry.id) }))
}

/**
 * Attention over words against a plain count of them: row entropy is the logarithm of the word's count, weights stand
 * at the word's occurrences, 1 / count each, and each output is the word's own vector.
 *
 * @param result with statistics, and with the weights of the samples' rows: [1, 1, samples, n]
 */
export function checkAgainstCount(
  words: WordSequence,
  tokens: Tensor,
  samples: readonly SampleWord[],
  result: AttentionResult,
): SelfCheck {
  const findings = samples.map((sample, index) => findWord(words, sample, index, result))
  return { checks: [checkEntropy(words, result), checkWeights(findings), checkOutput(tokens, result)], words: findings }
}

function checkEntropy(words: WordSequence, { statistics }: AttentionResult): Check {
  const counts = countWords(words)
  let worst = 0
  let worstWord = ''
  for (const [row, id] of words.ids.entries()) {
    const error = distance(statistics?.entropy.data[row], Math.log(counts[id] ?? 0))
    if (error <= worst) continue
    worst = error
    worstWord = words.vocabulary[id] ?? ''
  }
  const detail = `largest difference ${worst.toExponential(1)}${worstWord === '' ? '' : ` ('${worstWord}')`} over ${words.ids.length} rows, allowed ${TOLERANCE}`
  return { name: 'row entropy = ln(count of the word)', passed: worst <= TOLERANCE, detail }
}

function checkWeights(findings: readonly WordFinding[]): Check {
  const worst = Math.max(
    0,
    ...findings.map(({ worstWeightError, weightElsewhere }) => Math.max(worstWeightError, weightElsewhere)),
  )
  return {
    name: 'weights stand at the occurrences, 1 / count each',
    passed: findings.length > 0 && worst <= TOLERANCE,
    detail: `largest difference ${worst.toExponential(1)} over ${findings.length} words, allowed ${TOLERANCE}`,
  }
}

function checkOutput(tokens: Tensor, { output }: AttentionResult): Check {
  let worst = output.data.length === tokens.data.length ? 0 : Infinity
  for (let i = 0; i < tokens.data.length; i++) worst = Math.max(worst, distance(output.data[i], tokens.data[i] ?? 0))
  return {
    name: "output = the word's own vector",
    passed: worst <= TOLERANCE,
    detail: `largest difference ${worst.toExponential(1)}, allowed ${TOLERANCE}`,
  }
}

function findWord(
  words: WordSequence,
  sample: SampleWord,
  index: number,
  { statistics, weights }: AttentionResult,
): WordFinding {
  const keys = words.ids.length
  const row = weights?.data.subarray(index * keys, (index + 1) * keys) ?? new Float32Array(0)
  const places = occurrences(words, sample.id)
  let total = 0
  for (const weight of row) total += weight
  let atOccurrences = 0
  let worstWeightError = 0
  for (const place of places) {
    atOccurrences += row[place] ?? 0
    worstWeightError = Math.max(worstWeightError, distance((row[place] ?? NaN) * sample.count, 1))
  }
  return {
    ...sample,
    entropy: statistics?.entropy.data[sample.row] ?? NaN,
    expectedEntropy: Math.log(sample.count),
    worstWeightError,
    weightElsewhere: distance(total, atOccurrences),
  }
}

/** |a − b|; a missing or NaN value is infinitely far. */
function distance(a: number | undefined, b: number): number {
  const difference = Math.abs((a ?? NaN) - b)
  return Number.isNaN(difference) ? Infinity : difference
}
