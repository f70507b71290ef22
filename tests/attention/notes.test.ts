import { describe, expect, test } from 'vitest'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { normalTensor } from '../support/tensors.ts'

const runtime = useRuntime({ workers: 0 })
const random = new Random(3)

function notes(queries: number, keys: number, options: object): Promise<readonly string[]> {
  const [query, key, value] = [queries, keys, keys].map((rows) => normalTensor(random, [rows, 4]))
  return runtime()
    .attention({ query: query!, key: key!, value: value! }, options)
    .then(({ report }) => report.notes)
}

describe('causal without a query offset', () => {
  test('has a note where there are more keys than queries, or fewer, that names the offset of a cache', async () => {
    expect(await notes(1, 10, { causal: true })).toEqual([expect.stringMatching(/M = 1, N = 10 .*queryOffset: 9;/)])
    expect(await notes(3, 2, { causal: true })).toEqual([expect.stringContaining('queryOffset: -1')])
  })

  test.each([
    ['as many', 5, 5, { causal: true }],
    ['not causal', 1, 10, {}],
    ['an offset', 1, 10, { causal: true, queryOffset: 9 }],
    ['an offset of 0, which says that it is meant', 1, 10, { causal: true, queryOffset: 0 }],
    ['no keys', 1, 0, { causal: true }],
  ])('has none with %s', async (_name, queries, keys, options) => {
    expect(await notes(queries, keys, options)).toEqual([])
  })
})
