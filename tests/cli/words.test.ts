import { describe, expect, it } from 'vitest'
import { embed, VECTOR_SIZE, wordVectors } from '../../src/cli/run/word-vectors.ts'
import { countWords, occurrences, wordSequence } from '../../src/cli/run/words.ts'

describe('wordSequence', () => {
  it('takes words in lower case, with inner apostrophes and hyphens, and numbers', () => {
    const { vocabulary, ids } = wordSequence("“The whale’s quarter-deck!” — the WHALE's, 1851... Ænon")
    expect(vocabulary).toEqual(['the', "whale's", 'quarter-deck', '1851', 'ænon'])
    expect([...ids]).toEqual([0, 1, 2, 0, 1, 3, 4])
  })

  it('takes the words of a text without spaces', () => {
    const { vocabulary, ids } = wordSequence('我们去学校，我们学习')
    expect(vocabulary).toEqual(['我们', '去', '学校', '学习'])
    expect([...ids]).toEqual([0, 1, 2, 0, 3])
  })

  it('stops at its limit', () => {
    expect([...wordSequence('a b a c', 3).ids]).toEqual([0, 1, 0])
  })

  it('has no words in a text without any', () => {
    expect(wordSequence(' —…! ')).toEqual({ vocabulary: [], ids: new Int32Array(0) })
  })

  it('counts and finds them', () => {
    const words = wordSequence('sea ship sea whale sea')
    expect([...countWords(words)]).toEqual([3, 1, 1])
    expect(occurrences(words, 0)).toEqual([0, 2, 4])
  })
})

describe('wordVectors', () => {
  it('are seeded unit vectors whose products with each other stay far below 1', () => {
    const count = 400
    const vectors = wordVectors(count, 7)
    const row = (index: number): Float32Array => vectors.subarray(index * VECTOR_SIZE, (index + 1) * VECTOR_SIZE)
    let largest = 0
    for (let a = 0; a < count; a++) {
      for (let b = 0; b <= a; b++) {
        const product = row(a).reduce((sum, value, i) => sum + value * (row(b)[i] ?? NaN), 0)
        if (a === b) expect(product).toBeCloseTo(1, 5)
        else largest = Math.max(largest, Math.abs(product))
      }
    }
    expect(largest).toBeLessThan(0.75)
    expect(largest).toBeGreaterThan(0.3)
    expect(wordVectors(count, 7)).toEqual(vectors)
    expect(wordVectors(count, 8)).not.toEqual(vectors)
  })

  it('stand at each token of their word', () => {
    const vectors = wordVectors(2, 1)
    const tokens = new Float32Array(3 * VECTOR_SIZE)
    embed(Int32Array.of(1, 0, 1), vectors, tokens)
    expect(tokens.subarray(0, VECTOR_SIZE)).toEqual(vectors.subarray(VECTOR_SIZE))
    expect(tokens.subarray(VECTOR_SIZE, 2 * VECTOR_SIZE)).toEqual(vectors.subarray(0, VECTOR_SIZE))
    expect(tokens.subarray(2 * VECTOR_SIZE)).toEqual(vectors.subarray(VECTOR_SIZE))
  })
})
