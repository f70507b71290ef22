import { tensor, type AttentionResult } from 'heddle'
import { describe, expect, it } from 'vitest'
import { checkAgainstCount, sampleWords } from '../../src/cli/run/self-check.ts'
import { countWords, wordSequence } from '../../src/cli/run/words.ts'

const words = wordSequence('the whale the sea the ship the whale a sea '.repeat(3))
const n = words.ids.length
const samples = sampleWords(words)

/** What exact attention gives where every word finds only itself. */
function exactResult(): { tokens: ReturnType<typeof tensor<Float32Array>>; result: AttentionResult } {
  const counts = countWords(words)
  const countAt = (row: number): number => counts[words.ids[row] ?? -1] ?? NaN
  const tokens = tensor(Float32Array.from(words.ids), [n, 1])
  const weights = samples.flatMap(({ id }) =>
    [...words.ids].map((other) => (other === id ? 1 / (counts[id] ?? NaN) : 0)),
  )
  const row = <Data extends Float32Array | Int32Array>(data: Data) => tensor(data, [n])
  const result = {
    output: tensor(Float32Array.from(words.ids), [n, 1]),
    weights: tensor(Float32Array.from(weights), [1, 1, samples.length, n]),
    statistics: {
      entropy: row(Float32Array.from(words.ids, (_, at) => Math.log(countAt(at)))),
      maxWeight: row(new Float32Array(n)),
      maxIndex: row(new Int32Array(n)),
      meanDistance: row(new Float32Array(n)),
    },
  } as unknown as AttentionResult
  return { tokens, result }
}

describe('sampleWords', () => {
  it('takes favourites and others, each with its count and the row of its first token', () => {
    expect(samples.map(({ word }) => word)).toEqual(expect.arrayContaining(['whale', 'sea', 'the', 'a']))
    expect(new Set(samples.map(({ id }) => id)).size).toBe(samples.length)
    for (const { id, row, count, word } of samples) {
      expect(words.ids.indexOf(id)).toBe(row)
      expect(words.vocabulary[id]).toBe(word)
      expect([...words.ids].filter((other) => other === id)).toHaveLength(count)
    }
  })
})

describe('checkAgainstCount', () => {
  it('passes what is right', () => {
    const { tokens, result } = exactResult()
    const { checks, words: findings } = checkAgainstCount(words, tokens, samples, result)
    expect(checks.map(({ passed }) => passed)).toEqual([true, true, true])
    for (const { entropy, expectedEntropy } of findings) expect(entropy).toBeCloseTo(expectedEntropy, 5)
  })

  it.each([
    {
      what: 'one row entropy that is off by 2e-3',
      check: 0,
      spoil: ({ statistics }: AttentionResult) => statistics !== undefined && (statistics.entropy.data[7]! += 2e-3),
    },
    {
      what: 'one row entropy that is NaN',
      check: 0,
      spoil: ({ statistics }: AttentionResult) => statistics !== undefined && (statistics.entropy.data[n - 1] = NaN),
    },
    {
      what: 'a weight at another word',
      check: 1,
      spoil: ({ weights }: AttentionResult) => weights !== undefined && (weights.data[weights.data.indexOf(0)] = 0.01),
    },
    {
      what: 'a weight missing at an occurrence',
      check: 1,
      spoil: ({ weights }: AttentionResult) =>
        weights !== undefined && (weights.data[weights.data.findIndex((weight) => weight > 0)] = 0),
    },
    { what: 'an output of another word', check: 2, spoil: ({ output }: AttentionResult) => (output.data[3]! += 1) },
  ])('fails $what', ({ check, spoil }) => {
    const { tokens, result } = exactResult()
    spoil(result)
    const { checks } = checkAgainstCount(words, tokens, samples, result)
    expect(checks.map(({ passed }) => passed)).toEqual([0, 1, 2].map((index) => index !== check))
  })

  it('fails a result without statistics and weights', () => {
    const { tokens, result } = exactResult()
    const { checks } = checkAgainstCount(words, tokens, samples, { output: result.output, report: result.report })
    expect(checks.map(({ passed }) => passed)).toEqual([false, false, true])
  })
})
