import { analyzeAttention } from 'heddle/analysis'
import { expect, test } from 'vitest'
import { withRuntime } from '../support/runtimes.ts'

const heavy = process.env['HEDDLE_HEAVY'] === '1'
const N = heavy ? 65_536 : 4096
const [H, D] = [2, 32]
/** Beside queries and keys, which the caller owns: far from the n² · 4 bytes of one matrix (16 GiB; 64 MiB). */
const BUDGET = heavy ? 512 * 2 ** 20 : 40 * 2 ** 20

test(`${N} tokens are analyzed within linear memory`, { timeout: 900_000 }, async () => {
  await withRuntime({ workers: 2, memoryBudgetBytes: BUDGET }, async (runtime) => {
    const [query, key] = [runtime.tensor([1, H, N, D]), runtime.tensor([1, H, N, D])]
    // Tokens from 0 to 15 in a sequence that repeats after 4,000 positions; head 0 is an induction head, head 1
    // uniform.
    const tokens = Int32Array.from(
      { length: N },
      (_, at) => Math.floor(Math.abs(Math.sin((at % 4000) * 12.9898) * 43758.5453)) % 16,
    )
    for (let at = 0; at < N; at++) {
      query.data[at * D + (tokens[at] as number)] = 40
      if (at > 0) key.data[at * D + (tokens[at - 1] as number)] = 1
    }
    const { heads, axes } = await analyzeAttention(
      { query, key, tokens: { data: tokens, shape: [N] } },
      { attention: { causal: true, scale: 1 }, runtime },
    )
    const [induction, uniform] = heads
    expect(induction!.scores.induction!.value).toBeCloseTo(1, 4)
    expect(induction!.roles[0]!.name).toBe('induction')
    expect(induction!.scores.induction!.shuffled).toBeLessThan(0.2)
    expect(uniform!.roles).toEqual([])
    expect(uniform!.scores.relativeEntropy!.value).toBeCloseTo(1, 4)
    expect(uniform!.heatmap![63]!.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 4)
    expect(axes.keys).toHaveLength(64)
  })
})
