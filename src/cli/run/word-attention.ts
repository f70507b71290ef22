import { createHash } from 'node:crypto'
import type { AttentionOptions, AttentionPlan, AttentionResult, Runtime, Tensor } from '../../index.ts'
import { withResidentGrowth } from './resident-memory.ts'
import { embed, VECTOR_SIZE, wordVectors } from './word-vectors.ts'
import type { WordSequence } from './words.ts'

/** Scores are 64 for the same word and about 0 ± 8 for others: every row attends to its own word alone. */
export const SCORE_SCALE = 64
const SEED = 1851

/** What one call of attention took. */
export interface Measurement {
  readonly tokens: number
  readonly mode: 'standard' | 'chunked'
  readonly elapsedMs: number
  readonly tokensPerSecond: number
  readonly gigaflopsPerSecond: number
  /** peak of the counting allocator, and what the plan had said */
  readonly peakBytes: number
  readonly plannedBytes: number
  readonly residentGrowthBytes: number
}

/** Each token's vector, [n, D], in shared memory where the host has it. */
export function tokenVectors(runtime: Runtime, words: WordSequence): Tensor {
  const tokens = runtime.tensor([words.ids.length, VECTOR_SIZE])
  embed(words.ids, wordVectors(words.vocabulary.length, SEED), tokens.data)
  return tokens
}

/** The first `count` tokens, in the same memory. */
export function firstTokens(tokens: Tensor, count: number): Tensor {
  return { data: tokens.data.subarray(0, count * VECTOR_SIZE), shape: [count, VECTOR_SIZE] }
}

/** Options of self-attention over words: every call of `heddle run` does this work. */
export function wordOptions(options: AttentionOptions): AttentionOptions {
  return { scale: SCORE_SCALE, returnStatistics: true, ...options }
}

export function planWords(runtime: Runtime, tokens: Tensor, options: AttentionOptions): AttentionPlan {
  return runtime.plan({ query: tokens, key: tokens, value: tokens }, wordOptions(options))
}

/** Self-attention of the tokens over themselves, with what it took. */
export async function attendWords(
  runtime: Runtime,
  tokens: Tensor,
  options: AttentionOptions,
): Promise<{ result: AttentionResult; measurement: Measurement }> {
  const startMs = performance.now()
  const inputs = { query: tokens, key: tokens, value: tokens }
  const { value: result, growthBytes } = await withResidentGrowth(() => runtime.attention(inputs, wordOptions(options)))
  const elapsedMs = performance.now() - startMs
  const { report } = result
  const count = tokens.shape[0] ?? 0
  const measurement: Measurement = {
    tokens: count,
    mode: report.mode,
    elapsedMs,
    tokensPerSecond: (count / elapsedMs) * 1000,
    gigaflopsPerSecond: report.plan.flops / elapsedMs / 1e6,
    peakBytes: report.memory.peakBytes,
    plannedBytes: report.memory.plannedBytes,
    residentGrowthBytes: growthBytes,
  }
  return { result, measurement }
}

/** SHA-256 over the bytes of a tensor: equal bits, equal hash. */
export function tensorHash({ data }: Tensor): string {
  const hash = createHash('sha256')
  // In slices: a digest takes no shared memory, and a copy of all of it would double the output.
  const sliceElements = 1 << 20
  for (let start = 0; start < data.length; start += sliceElements) {
    const slice = new Float32Array(data.subarray(start, start + sliceElements))
    hash.update(new Uint8Array(slice.buffer))
  }
  return `sha256:${hash.digest('hex')}`
}
