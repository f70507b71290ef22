import { analyzeAttention, type HeadAnalysis, type PositionPair, type RelationScore } from 'heddle/analysis'
import { beforeAll, describe, expect, test } from 'vitest'
import { mobyDick } from '../../src/cli/run/load-text.ts'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { normalTensor } from '../support/tensors.ts'
import { annotatedText } from './support/annotated-text.ts'
import { denseWeights } from './support/dense.ts'

const runtime = useRuntime({ workers: 2 })
const { passages, tokens, relations } = annotatedText()
const N = tokens.length
/** Scores of 40 for the keys that a head is made for, and 0 for others: e^−40 of the mass goes astray. */
const STRENGTH = 40

/** A head whose query and key rows are 0 but for the coordinates that it is given: [row, column] of each. */
interface Made {
  readonly query: readonly (readonly [number, number])[]
  readonly key: readonly (readonly [number, number])[]
}

const pairsOf = (name: string): readonly PositionPair[] => relations[name]!
const grammar = (name: string): Made => ({
  query: pairsOf(name).map(([query], at) => [query, at]),
  key: pairsOf(name).map(([, key], at) => [key, at]),
})
const places = Array.from({ length: N }, (_, place) => place)
const heads: Readonly<Record<string, Made>> = {
  determiner: grammar('noun to its determiner'),
  subject: grammar('verb to its subject'),
  previous: {
    query: places.map((place) => [place, place]),
    key: places.slice(0, -1).map((place) => [place, place + 1]),
  },
  uniform: { query: [], key: [] },
}
const NAMES = Object.keys(heads)

function made(part: keyof Made, size: number) {
  const data = new Float32Array(NAMES.length * N * N)
  NAMES.forEach((name, head) => {
    for (const [row, column] of heads[name]![part]) data[(head * N + row) * N + column] = size
  })
  return { data, shape: [1, NAMES.length, N, N] }
}

/** The share of a relation's pairs at an offset: counted, not computed by the analysis. */
function shareAt(name: string, offset: number): number {
  return pairsOf(name).filter(([query, key]) => key - query === offset).length / pairsOf(name).length
}

describe('grammatical relations in real text', () => {
  let found: Record<string, HeadAnalysis>
  beforeAll(async () => {
    const result = await analyzeAttention(
      { query: made('query', STRENGTH), key: made('key', 1), tokens: { data: tokens, shape: [N] } },
      { attention: { causal: true, scale: 1 }, relations, heatmapSize: 0, runtime: runtime() },
    )
    found = Object.fromEntries(NAMES.map((name, at) => [name, result.heads[at]!]))
  })
  const scoreOf = (head: string, relation: string): RelationScore =>
    found[head]!.relations.find(({ name }) => name === relation)!

  test('the passages stand in the book, and every pair has its later word first', async () => {
    const book = (await mobyDick()).text
    for (const passage of passages) expect(book).toContain(passage)
    const all = Object.values(relations).flat()
    expect(all).toHaveLength(94)
    for (const [query, key] of all) expect(key).toBeLessThan(query)
  })

  test.each([
    ['determiner', 'noun to its determiner'],
    ['subject', 'verb to its subject'],
  ])('a head that finds each %s has that relation as its role', (head, relation) => {
    const score = scoreOf(head, relation)
    expect(score.value).toBeCloseTo(1, 5)
    expect(score.accuracy).toBe(1)
    expect(score.pairs).toBe(pairsOf(relation).length)
    const offsets = pairsOf(relation).map(([query, key]) => key - query)
    const best = Math.max(...offsets.map((offset) => shareAt(relation, offset)))
    expect(score.fixedOffset!.value).toBeCloseTo(best, 12)
    const named = found[head]!.roles.map(({ name }) => name).filter((name) => name.startsWith('relation'))
    // “the” stands right before its noun so often that looking there is nearly as good: no role without a margin of 2.
    expect(named).toEqual(2 * best <= 1 ? [`relation: ${relation}`] : [])
  })

  test('a head that attends to the word before scores what stands there, and position explains it', () => {
    for (const relation of Object.keys(relations)) {
      const { value, accuracy } = scoreOf('previous', relation)
      expect(value, relation).toBeCloseTo(shareAt(relation, -1), 5)
      expect(accuracy, relation).toBeCloseTo(shareAt(relation, -1), 12)
    }
    expect(found['previous']!.roles.map(({ name }) => name)).not.toContainEqual(expect.stringContaining('relation'))
  })

  test('a uniform head scores its baseline: one of the keys that each row may see', () => {
    for (const relation of Object.keys(relations)) {
      const { value, uniform } = scoreOf('uniform', relation)
      const exact = pairsOf(relation).reduce((sum, [query]) => sum + 1 / (query + 1), 0) / pairsOf(relation).length
      expect(value).toBeCloseTo(exact, 6)
      expect(uniform).toBeCloseTo(exact, 6)
    }
  })

  test('scores of random heads equal those of the whole matrix, for any sequence of the batch', async () => {
    const inputs = {
      query: normalTensor(new Random(5), [2, 4, N, 8]),
      key: normalTensor(new Random(6), [2, 2, N, 8]),
    }
    const options = { causal: true, window: { before: 9 } }
    const result = await analyzeAttention(inputs, {
      ...{ attention: options, relations, sequence: 1, heatmapSize: 0, runtime: runtime() },
    })
    const dense = denseWeights(inputs, options)
    for (const { head, relations: scores } of result.heads) {
      const rows = dense.weights[1]![head]!
      for (const { name, value, accuracy, pairs } of scores) {
        const seen = pairsOf(name).filter(([query, key]) => query - key <= 9)
        expect(pairs).toBe(seen.length)
        const mean = (valueOf: (pair: PositionPair) => number): number =>
          seen.reduce((sum, pair) => sum + valueOf(pair), 0) / seen.length
        expect(value).toBeCloseTo(
          mean(([query, key]) => rows[query]![key]!),
          6,
        )
        expect(accuracy).toBeCloseTo(
          mean(([query, key]) => Number(Math.max(...rows[query]!) === rows[query]![key])),
          12,
        )
      }
    }
  })

  test.each([
    [[N, 0], `relations.verb[1]: expected a query from 0 to ${N - 1}, got ${N}`],
    [[3, -1], `relations.verb[1]: expected a key from 0 to ${N - 1}, got -1`],
    [[3], 'relations.verb[1]: expected a pair [query, key]'],
  ])('refuses the pair %j, and names it', async (pair, message) => {
    const one = { data: new Float32Array(N), shape: [N, 1] }
    const refused = analyzeAttention(
      { query: one, key: one },
      { runtime: runtime(), relations: { verb: [[1, 0], pair as unknown as PositionPair] } },
    )
    await expect(refused).rejects.toMatchObject({
      code: 'OptionError',
      message: expect.stringContaining(message) as string,
    })
  })
})
