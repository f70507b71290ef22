import { analyzeAttention, type HeadAnalysis, type ScoreName } from 'heddle/analysis'
import { describe, expect, test } from 'vitest'
import { useRuntime } from '../support/runtimes.ts'

const runtime = useRuntime({ workers: 2 })

/** 12 symbols in an order that repeats after 24 positions, twice: what follows a symbol is the same every time. */
const period = [3, 7, 1, 9, 0, 4, 11, 2, 8, 5, 10, 6, 1, 3, 0, 9, 7, 2, 4, 8, 11, 5, 6, 10]
const N = 72
const tokens = Int32Array.from({ length: N }, (_, at) => period[at % 24]!)
const D = N
/** Scores of 40 for the keys that a head is made for, and 0 for others: e^−40 of the mass goes astray. */
const STRENGTH = 40

type Vector = (position: number) => number | null

/** A head by the coordinates in which its query and key are not 0. */
const heads: Record<string, { readonly query: Vector; readonly key: Vector }> = {
  previous: { query: (i) => i, key: (j) => j + 1 },
  self: { query: (i) => i, key: (j) => j },
  first: { query: () => 0, key: (j) => (j === 0 ? 0 : null) },
  induction: { query: (i) => tokens[i]!, key: (j) => (j === 0 ? null : tokens[j - 1]!) },
  uniform: { query: () => null, key: () => null },
}
const NAMES = Object.keys(heads)

function inputs() {
  const make = (part: 'query' | 'key', size: number) => {
    const data = new Float32Array(NAMES.length * N * D)
    NAMES.forEach((name, head) => {
      for (let position = 0; position < N; position++) {
        const column = heads[name]![part](position)
        if (column !== null && column < D) data[(head * N + position) * D + column] = size
      }
    })
    return { data, shape: [1, NAMES.length, N, D] }
  }
  return { query: make('query', STRENGTH), key: make('key', 1), tokens: { data: tokens, shape: [N] } }
}

async function analyzed(): Promise<Record<string, HeadAnalysis>> {
  const relations = {
    'two before': Array.from({ length: 20 }, (_, at) => [at + 10, at + 8] as const),
    mixed: [
      [30, 29],
      [40, 39],
      [50, 3],
      [60, 7],
    ] as const,
  }
  const { heads: found } = await analyzeAttention(inputs(), {
    attention: { causal: true, scale: 1 },
    runtime: runtime(),
    relations,
  })
  return Object.fromEntries(NAMES.map((name, at) => [name, found[at]!]))
}

describe('heads whose answer is known', () => {
  test.each(['previous', 'self', 'first', 'induction'] as const)(
    'a %s head scores 1, and has that role first',
    async (name) => {
      const head = (await analyzed())[name]!
      expect(head.scores[name]!.value).toBeCloseTo(1, 6)
      expect(head.roles[0]!.name).toBe(name)
      expect(head.roles[0]!.baseline).toBeLessThan(0.5)
    },
  )

  test('the induction head scores less with its tokens shuffled, and is no head of another kind', async () => {
    const { scores, roles } = (await analyzed())['induction']!
    expect(scores.induction!.rows).toBe(N - 12)
    expect(scores.induction!.shuffled!).toBeLessThan(0.5)
    expect(roles.map(({ name }) => name)).toEqual(['induction'])
  })

  test('a uniform head scores its baseline everywhere, and has no role', async () => {
    const { scores, roles, heatmap } = (await analyzed())['uniform']!
    for (const name of Object.keys(scores) as ScoreName[])
      expect(scores[name]!.value ?? -1, name).toBeCloseTo(scores[name]!.uniform ?? -1, 5)
    expect(scores.relativeEntropy!.value).toBeCloseTo(1, 6)
    expect(scores.next!.value).toBeNull()
    expect(roles).toEqual([])
    expect(heatmap![63]!.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 5)
  })

  test('a relation that position alone explains makes no role: the best fixed offset does as well', async () => {
    const found = await analyzed()
    const [twoBefore] = found['previous']!.relations
    expect(twoBefore).toMatchObject({
      name: 'two before',
      pairs: 20,
      fixedOffset: { offset: -2, value: 1 },
      accuracy: 0,
    })
    const [, mixed] = found['previous']!.relations
    expect(mixed!.fixedOffset).toEqual({ offset: -1, value: 0.5 })
    expect(mixed!.value).toBeCloseTo(0.5, 6)
    expect(mixed!.accuracy).toBe(0.5)
    for (const { roles } of Object.values(found))
      expect(roles.some(({ name }) => name.startsWith('relation'))).toBe(false)
  })

  test('a head that finds what is related, wherever it is, has the relation as its role', async () => {
    const pairs = [
      [25, 1],
      [30, 7],
      [40, 18],
      [50, 3],
      [60, 14],
      [71, 24],
    ] as const
    const data = (part: 0 | 1, size: number) => {
      const rows = new Float32Array(N * D)
      pairs.forEach((pair, at) => (rows[pair[part] * D + at] = size))
      return { data: rows, shape: [N, D] }
    }
    const {
      heads: [head],
    } = await analyzeAttention(
      { query: data(0, STRENGTH), key: data(1, 1) },
      { attention: { causal: true, scale: 1 }, runtime: runtime(), relations: { verb: pairs, unseen: [[3, 9]] } },
    )
    const [verb, unseen] = head!.relations
    expect(verb!.value).toBeCloseTo(1, 6)
    expect(verb!.accuracy).toBe(1)
    expect(head!.roles.map(({ name }) => name)).toContain('relation: verb')
    expect(unseen).toEqual({ name: 'unseen', value: null, accuracy: null, uniform: null, fixedOffset: null, pairs: 0 })
  })

  test('rows that queryMask leaves out do not count, in any score', async () => {
    const queryMask = { data: Uint8Array.from({ length: N }, (_, row) => (row < 36 ? 0 : 1)), shape: [N] }
    const { heads: found } = await analyzeAttention(inputs(), {
      attention: { causal: true, scale: 1 },
      runtime: runtime(),
      queryMask,
    })
    const { scores } = found[NAMES.indexOf('uniform')]!
    const mean = (valueOf: (row: number) => number): number =>
      Array.from({ length: 36 }, (_, at) => valueOf(at + 36)).reduce((a, b) => a + b, 0) / 36
    for (const name of ['self', 'induction', 'entropy'] as const) expect(scores[name]!.rows, name).toBe(36)
    expect(scores.first!.value).toBeCloseTo(
      mean((row) => 1 / (row + 1)),
      6,
    )
    expect(scores.entropy!.value).toBeCloseTo(
      mean((row) => Math.log(row + 1)),
      5,
    )
    expect(scores.induction!.value).toBeCloseTo(
      mean((row) => tokens.slice(0, row).filter((token) => token === tokens[row]).length / (row + 1)),
      6,
    )
  })

  test('heads that attend to different keys are 1 apart, and each 0 from itself', async () => {
    const { divergence } = await analyzeAttention(inputs(), {
      attention: { causal: true, scale: 1 },
      runtime: runtime(),
    })
    const [previous, self] = [NAMES.indexOf('previous'), NAMES.indexOf('self')]
    expect(divergence!.rows).toHaveLength(16)
    expect(divergence!.distances[previous]![self]).toBeCloseTo(1, 6)
    expect(divergence!.distances.map((row, head) => row[head])).toEqual(NAMES.map(() => 0))
  })

  test('keys receive what heads give them: all of it the first one, or equal shares of each row', async () => {
    const found = await analyzed()
    expect(found['first']!.received!.largest[0]).toMatchObject({ key: 0 })
    expect(found['first']!.received!.largest[0]!.share).toBeCloseTo(1, 6)
    const { buckets, largest } = found['uniform']!.received!
    const exact = (key: number): number =>
      Array.from({ length: N - key }, (_, at) => 1 / (key + at + 1)).reduce((a, b) => a + b, 0) / N
    expect(largest.map(({ key }) => key)).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
    for (const { key, share } of largest) expect(share).toBeCloseTo(exact(key), 6)
    expect(buckets.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 6)
  })

  test('a head that finds every copy of its token gives each the same, itself among them', async () => {
    const row = (position: number): number => position * D + tokens[position]!
    const data = (size: number) => {
      const rows = new Float32Array(N * D)
      for (let position = 0; position < N; position++) rows[row(position)] = size
      return { data: rows, shape: [N, D] }
    }
    const {
      heads: [head],
    } = await analyzeAttention(
      { query: data(STRENGTH), key: data(1), tokens: { data: tokens, shape: [N] } },
      { attention: { causal: true, scale: 1 }, runtime: runtime() },
    )
    const earlier = Array.from(tokens, (token, at) => tokens.slice(0, at).filter((other) => other === token).length)
    const counted = earlier.filter((copies) => copies > 0)
    const exact = counted.reduce((sum, copies) => sum + copies / (copies + 1), 0) / counted.length
    expect(head!.scores.duplicate!.rows).toBe(counted.length)
    expect(head!.scores.duplicate!.value).toBeCloseTo(exact, 5)
    expect(head!.roles[0]!.name).toBe('duplicate')
  })

  test('without a causal mask a head may look at the next token', async () => {
    const data = (shift: number, size: number) => {
      const rows = new Float32Array(N * D)
      for (let position = 0; position < N; position++)
        if (position + shift < D) rows[position * D + position + shift] = size
      return { data: rows, shape: [N, D] }
    }
    const {
      heads: [head],
    } = await analyzeAttention(
      { query: data(1, STRENGTH), key: data(0, 1) },
      { attention: { scale: 1 }, runtime: runtime() },
    )
    expect(head!.scores.next).toMatchObject({ rows: N - 1 })
    expect(head!.scores.next!.value).toBeCloseTo(1, 6)
    expect(head!.scores.previous!.value).toBeLessThan(0.01)
    expect(head!.roles[0]!.name).toBe('next')
    expect(head!.scores.distance!.value).toBeGreaterThan(0.98)
  })
})
