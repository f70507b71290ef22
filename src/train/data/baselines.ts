import { checkInteger } from '../../core/check.ts'
import { exactLog } from '../../core/elementary.ts'
import { OptionError } from '../../core/errors.ts'
import { formatPlace } from '../../core/tensor.ts'
import type { Batch } from '../batch.ts'

/** Cross-entropies in nats per counted target of the held-out batches: what a model should be below. */
export interface Baselines {
  /** all tokens equally likely: ln size */
  readonly chance: number
  /** how often each token was a target */
  readonly unigram: number
  /** how often it was the target of the token before it */
  readonly bigram: number
}

/**
 * Weights of the unigram in the bigram, of which the best one for the held-out batches is taken: that favours the
 * bigram.
 */
const BACK_OFFS = [0.01, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000]

/**
 * Losses of the simplest models of next tokens, counted on the training batches and measured on the held-out ones.
 * Unigrams are counted with one added to each; a bigram is (count(a, b) + κ·unigram(b)) / (count(a) + κ).
 *
 * @param training the batches to count
 * @param validation the batches to measure on
 * @param size how many tokens there are
 * @throws {OptionError} when no target counts, or a token is not below `size`
 *
 * @example
 * ```js
 * import { baselines, copyTask } from 'heddle/train'
 *
 * const batchOf = copyTask({ batch: 8, length: 16, symbols: 8 })
 * const { unigram, bigram } = baselines([batchOf(0), batchOf(1)], [batchOf(2)], 9)
 * console.log(unigram > 1, bigram > 1) // true true
 * ```
 */
export function baselines(training: Iterable<Batch>, validation: Iterable<Batch>, size: number): Baselines {
  checkInteger('baselines: size', size, 1)
  const counts = countPairs(training, size)
  const held = countPairs(validation, size)
  if (counts.total === 0 || held.total === 0)
    throw new OptionError(
      'baselines: expected targets that count in the training and in the held-out batches, got none',
    )
  const unigram = (token: number): number => ((counts.targets[token] ?? 0) + 1) / (counts.total + size)
  const mean = (probability: (before: number, token: number) => number): number => {
    let sum = 0
    for (const [pair, times] of held.pairs) sum -= times * exactLog(probability(Math.floor(pair / size), pair % size))
    return sum / held.total
  }
  const bigrams = BACK_OFFS.map((weight) =>
    mean(
      (before, token) =>
        ((counts.pairs.get(before * size + token) ?? 0) + weight * unigram(token)) /
        ((counts.tokens[before] ?? 0) + weight),
    ),
  )
  return { chance: exactLog(size), unigram: mean((_, token) => unigram(token)), bigram: Math.min(...bigrams) }
}

interface PairCounts {
  readonly total: number
  readonly tokens: Float64Array
  readonly targets: Float64Array
  /** by token · size + target */
  readonly pairs: Map<number, number>
}

function countPairs(batches: Iterable<Batch>, size: number): PairCounts {
  const counts = {
    total: 0,
    tokens: new Float64Array(size),
    targets: new Float64Array(size),
    pairs: new Map<number, number>(),
  }
  for (const { tokens, targets, mask } of batches) {
    for (const [place, token] of (tokens?.data ?? []).entries()) {
      const target = targets?.data[place] ?? -1
      if (target < 0 || mask?.data[place] === 0) continue
      if (token < 0 || token >= size || target >= size)
        throw new OptionError(
          `baselines: expected tokens from 0 to ${size - 1}, got ${token} before ${target} at ${formatPlace(place, tokens?.shape ?? [])}`,
        )
      counts.total++
      counts.tokens[token] = (counts.tokens[token] ?? 0) + 1
      counts.targets[target] = (counts.targets[target] ?? 0) + 1
      counts.pairs.set(token * size + target, (counts.pairs.get(token * size + target) ?? 0) + 1)
    }
  }
  return counts
}
