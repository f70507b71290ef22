import type { AttentionOptions } from 'heddle'
import { describe, expect, test } from 'vitest'
import { fullCase } from '../support/option-cases.ts'
import { Random } from '../support/random.ts'
import { useRuntime, withRuntime } from '../support/runtimes.ts'
import { fingerprint, normalTensor } from '../support/tensors.ts'

const runtime = useRuntime({ workers: 2 })
const dims = { B: 2, H: 4, M: 37, N: 300 }
const { B, H, M, N } = dims
const D = 16
const random = new Random(161)
const inputs = {
  query: normalTensor(random, [B, H, M, D]),
  key: normalTensor(random, [B, H, N, D]),
  value: normalTensor(random, [B, H, N, D]),
}
const options = fullCase.options(random, dims)

async function outputBits(call: typeof inputs, extra: AttentionOptions = {}): Promise<string> {
  return fingerprint((await runtime().attention(call, { mode: 'chunked', ...extra })).output.data)
}

test('what else is asked for does not change a bit of the output', async () => {
  const plain = await outputBits(inputs, options)
  const extras: AttentionOptions[] = [
    { returnLogSumExp: true },
    { returnStatistics: true },
    { returnWeights: { heads: [1], rows: [0, 30] } },
    { onChunk: () => undefined },
    { onProgress: () => undefined },
    { signal: new AbortController().signal },
    { out: { data: new Float32Array(B * H * M * D), shape: [B, H, M, D] } },
  ]
  for (const extra of extras)
    expect(await outputBits(inputs, { ...options, ...extra }), Object.keys(extra).join()).toBe(plain)
})

/** Batch b, head h of a [B, H, rows, D] tensor. */
function headOf({ data, shape }: (typeof inputs)['query'], b: number, h: number) {
  const rows = shape[2]!
  return { data: data.slice((b * H + h) * rows * D, (b * H + h + 1) * rows * D), shape: [rows, D] }
}

test('neither the batches and heads beside it nor the layout change a bit of a head', async () => {
  const { output } = await runtime().attention(inputs, { causal: true, queryOffset: 250 })
  for (let b = 0; b < B; b++)
    for (let h = 0; h < H; h++) {
      const alone = {
        query: headOf(inputs.query, b, h),
        key: headOf(inputs.key, b, h),
        value: headOf(inputs.value, b, h),
      }
      expect(await outputBits(alone, { causal: true, queryOffset: 250 })).toBe(fingerprint(headOf(output, b, h).data))
    }
})

describe('numerics: portable', () => {
  test('gives the same bits on workers and on the calling thread, and stays within the rule of fast', async () => {
    const bits: string[] = []
    for (const workers of [0, 2]) {
      await withRuntime({ workers, numerics: 'portable' }, async (portable) => {
        const { output, report } = await portable.attention(inputs, options)
        expect(report.numerics).toBe('portable')
        expect(report.reproducible).toBe(true)
        bits.push(fingerprint(output.data))
        const fast = await runtime().attention(inputs, options)
        output.data.forEach((x, at) => expect(Math.abs(x - fast.output.data[at]!)).toBeLessThan(1e-5))
      })
    }
    expect(bits[0]).toBe(bits[1])
  })
})
