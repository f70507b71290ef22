import { analyzeAttention, type AttentionAnalysis } from 'heddle/analysis'
import { describe, expect, test } from 'vitest'
import { Random } from '../support/random.ts'
import type { MathOptions } from '../support/problem.ts'
import { useRuntime } from '../support/runtimes.ts'
import { integerTensor, maskTensor, normalTensor } from '../support/tensors.ts'
import { shuffledTokens } from '../../src/analysis/token-sets.ts'
import { denseDistance, denseMass, denseMeasures, denseWeights, positionSets, tokenSets } from './support/dense.ts'

const runtime = useRuntime({ workers: 2 })
const random = new Random(41)
const [B, H, N, D] = [2, 4, 83, 12]
const NEAR = 5
const SEED = 9

const segments = Int32Array.from({ length: B * N }, (_, at) => Math.floor((at % N) / 30))
const segmentTensor = { data: segments, shape: [B, N] }
/** Keys 7, 20 and the last five are padding, whose segment no query has. */
const padded = segments.map((segment, at) => ([7, 20].includes(at % N) || at % N > 77 ? -5 : segment))
const bias = normalTensor(random, [1, H, N, N])
for (let at = 0; at < bias.data.length; at += 7) bias.data[at] = -Infinity

interface Case {
  readonly name: string
  readonly options: MathOptions
  readonly Hkv?: number
  /** without it tokens do not apply */
  readonly rows?: number
  readonly keySegments?: Int32Array
}

const cases: readonly Case[] = [
  { name: 'everything seen', options: {} },
  { name: 'causal', options: { causal: true } },
  { name: 'grouped heads', options: { causal: true }, Hkv: 2 },
  {
    name: 'packed sequences',
    options: { causal: true, segments: { query: segmentTensor, key: segmentTensor } },
    keySegments: segments,
  },
  {
    name: 'padding inside',
    options: { segments: { query: segmentTensor, key: { data: padded, shape: [B, N] } } },
    keySegments: padded,
  },
  { name: 'lengths', options: { causal: true, keyLengths: Int32Array.of(40, 83) } },
  { name: 'window, softcap and scale', options: { causal: true, window: { before: 20 }, softcap: 2, scale: 0.5 } },
  { name: 'ALiBi', options: { causal: true, alibiSlopes: Float32Array.of(0.5, 0.25, 0.125, 0) } },
  { name: 'mask per batch', options: { mask: maskTensor(random, [B, 1, N, N]) } },
  { name: 'bias per head, with −∞', options: { bias, causal: true } },
  { name: 'cross-attention with an offset', options: { queryOffset: Int32Array.of(3, -2) }, rows: 31 },
]

/** Means of float32 results: masses of about 1 from log-sum-exps of about 5, each off by 1e-6 at most. */
const TOLERANCE = 5e-6

describe.each(cases)('$name', ({ options, Hkv = H, rows, keySegments }) => {
  const inputs = {
    query: normalTensor(new Random(5), [B, H, rows ?? N, D]),
    key: normalTensor(new Random(6), [B, Hkv, N, D]),
  }
  const tokens = integerTensor(new Random(7), [B, N], 9)
  const dense = denseWeights(inputs, options)
  const analyze = (): Promise<AttentionAnalysis> =>
    analyzeAttention(
      { ...inputs, ...(rows === undefined ? { tokens } : {}) },
      {
        attention: options,
        near: NEAR,
        seed: SEED,
        divergenceRows: 6,
        heatmapSize: 16,
        sequence: 1,
        runtime: runtime(),
      },
    )

  test('scores and baselines equal those of the whole matrix', async () => {
    const { heads } = await analyze()
    const shuffled = shuffledTokens(tokens.data, B, { seedLow: SEED, seedHigh: 0 })
    const sets = { ...positionSets(NEAR), ...(rows === undefined ? tokenSets(tokens.data, N, keySegments) : {}) }
    const otherSets = tokenSets(shuffled, N, keySegments)
    for (const { head, scores } of heads) {
      for (const [name, member] of Object.entries(sets)) {
        const score = scores[name as 'self']!
        const exact = denseMass(dense, head, 'weights', member)
        expect(score.rows, name).toBe(exact.rows)
        expectNear(score.value, exact.value, `${name} of head ${head}`)
        expectNear(score.uniform, denseMass(dense, head, 'uniform', member).value, `${name}, uniform`)
        const other = otherSets[name]
        expectNear(
          score.shuffled,
          other === undefined || rows !== undefined ? null : denseMass(dense, head, 'weights', other).value,
          `${name}, shuffled`,
        )
      }
      expect('induction' in scores).toBe(rows === undefined)
      for (const of of ['weights', 'uniform'] as const) {
        for (const [name, value] of Object.entries(denseMeasures(dense, head, of))) {
          const score = scores[name as 'entropy']!
          expectNear(of === 'weights' ? score.value : score.uniform, value, `${name}, ${of}`, 1 + Math.abs(value))
        }
      }
    }
  })

  test('heatmaps, received attention and distances between heads equal those of the whole matrix', async () => {
    const { heads, axes, divergence } = await analyze()
    for (const { head, heatmap, received } of heads) {
      const matrix = dense.weights[1]![head]!
      for (const [r, row] of axes.queries.entries()) {
        const seen = matrix.slice(row.start, row.end).filter((weights) => weights.some((weight) => weight > 0))
        for (const [c, column] of axes.keys.entries()) {
          const mass = seen.reduce(
            (sum, weights) => sum + weights.subarray(column.start, column.end).reduce((a, b) => a + b, 0),
            0,
          )
          expectNear(
            heatmap![r]![c]!,
            seen.length === 0 ? 0 : mass / seen.length,
            `heatmap [${r}, ${c}] of head ${head}`,
          )
        }
      }
      const sums = Float64Array.from({ length: N }, (_, j) => matrix.reduce((sum, weights) => sum + weights[j]!, 0))
      const total = sums.reduce((a, b) => a + b, 0)
      for (const [c, { start, end }] of axes.keys.entries())
        expectNear(received!.buckets[c]!, sums.subarray(start, end).reduce((a, b) => a + b, 0) / total, `received ${c}`)
      const best = Math.max(...sums) / total
      expectNear(received!.largest[0]!.share, best, 'the largest share')
      expectNear(sums[received!.largest[0]!.key]! / total, best, 'the key with the largest share')
    }
    expect(divergence!.rows).toHaveLength(6)
    // The root magnifies: an error of 1e-7 in the divergence of equal rows is 3e-4 in the distance.
    for (let one = 0; one < H; one++)
      for (let other = 0; other < H; other++)
        expect(divergence!.distances[one]![other]).toBeCloseTo(
          one === other ? 0 : denseDistance(dense, one, other, divergence!.rows),
          4,
        )
  })
})

function expectNear(actual: number | null, exact: number | null, what: string, size = 1): void {
  if (actual === null || exact === null) expect(actual, what).toBe(exact)
  else expect(Math.abs(actual - exact), `${what}: ${actual} against ${exact}`).toBeLessThan(TOLERANCE * size)
}
