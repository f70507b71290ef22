import type { AttentionTask, TaskArray } from '../../src/protocol/task.ts'
import { heddle, randomData, type Shape } from './contenders.ts'
import { peakGflops } from './peak.ts'
import { interleave, median, numbersGiven } from './rounds.ts'

/**
 * What each option costs: processor time beside the plain call of the same shape, and beside the share of tiles it
 * leaves.
 *
 *   node scripts/bench-kernels.mjs options [tokens] [head size] [rounds]
 */
const [tokens = 2048, headSize = 64, rounds = 5] = numbersGiven()
const shape: Shape = { heads: 1, queries: tokens, tokens, headSize, causal: false }
const data = randomData(shape)
const variant = peakGflops('fused') === undefined ? 'simd' : 'relaxed'

const mask = new Uint8Array(tokens * tokens).map((_, at) => ((at * 2654435761) >>> 24) & 1)
const diagonal = new Uint8Array(tokens * tokens).map((_, at) => (at % tokens <= at / tokens ? 1 : 0))
const bias = new Float32Array(tokens * tokens).map((_, at) => (at % 7) - 3)
const segments = new Int32Array(tokens).map((_, at) => Math.floor((at * 8) / tokens))
const statistics = new Float32Array(tokens)
const distances = new Float32Array(2 * tokens - 1).map((_, at) => (at % 7) - 3)
const extra: TaskArray[] = [mask, diagonal, bias, segments, statistics, distances]
const rowsOf = (array: number) => ({ array: 4 + array, offset: 0, rowStride: tokens })
const row = (array: number) => ({ array: 4 + array, offset: 0, rowStride: 1 })
type Settings = Partial<AttentionTask['settings']>
const cases: readonly {
  readonly name: string
  readonly task?: Partial<AttentionTask>
  readonly settings?: Settings
}[] = [
  { name: 'plain' },
  { name: 'causal', settings: { causal: true } },
  { name: 'window of 256', settings: { windowBefore: 128, windowAfter: 127 } },
  { name: 'segments of n/8', task: { querySegments: row(3), keySegments: row(3) } },
  { name: 'key length n/2', task: { keyLength: tokens / 2 } },
  { name: 'mask, half the keys', task: { mask: rowsOf(0) } },
  { name: 'mask, a triangle', task: { mask: rowsOf(1) } },
  { name: 'bias', task: { bias: rowsOf(2) } },
  { name: 'bias by distance', task: { bias: { array: 9, offset: tokens - 1, rowStride: -1 } } },
  { name: 'softcap', settings: { softcap: 20 } },
  { name: 'ALiBi', task: { alibiSlope: 0.1 } },
  { name: 'dropout', settings: { dropout: { threshold: 429496730, keepScale: 1 / 0.9, seedLow: 7, seedHigh: 0 } } },
  { name: 'statistics', task: { entropy: row(4), maxWeight: row(4), meanDistance: row(4) } },
]

// One task of all rows, so that a row's place in the matrices is its place in the task.
const contenders = cases.map(({ name, task, settings }) => ({
  ...heddle(variant, shape, data, { chunkRows: tokens, task, settings, arrays: extra }),
  name,
}))
const times = await interleave(contenders, rounds + 1)
const plain = median((times.get('plain') ?? []).slice(1))
console.log(`n ${tokens}, D ${headSize}, ${variant}`)
for (const [name, list] of times) {
  const ms = median(list.slice(1))
  console.log(`${name.padEnd(22)} ${ms.toFixed(1).padStart(7)} ms  ${(ms / plain).toFixed(2)} × plain`)
}
