import { MultiHeadAttention, TransformerBlock } from 'heddle/nn'
import { describe, expect, it } from 'vitest'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { normalTensor } from '../support/tensors.ts'
import { layerReference, turnedHeads } from './layer-reference.ts'
import { worst } from './worst.ts'

const runtime = useRuntime({ workers: 2 })
const [B, M, E, H, Hkv, D] = [2, 40, 24, 4, 2, 6]
const x = normalTensor(new Random(4), [B, M, E])

describe.each([
  ['true', true, 10_000],
  ['500', 500, 500],
  ['1.5', 1.5, 1.5],
] as const)('rotary: %s', (_name, rotary, base) => {
  const layer = new MultiHeadAttention({ modelDim: E, heads: H, keyValueHeads: Hkv, rotary, seed: 5 })
  const expected = layerReference(layer, x, x, { causal: true }, (projected) => turnedHeads(projected, D, base))

  it('turns queries and keys as float64 does', async () => {
    const { output } = await layer.forward(x, { runtime: runtime(), causal: true, chunkSize: 7 })
    // Weights are float32, of scores up to 10: a few units in the last place of each.
    expect(worst(output.data, expected)).toBeLessThan(1e-5)
  })

  it('counts positions from the start of a cache', async () => {
    const cache = new TransformerBlock({ modelDim: E, heads: H, keyValueHeads: Hkv }).createCache(B, M)
    let from = 0
    for (const rows of [7, 1, 32]) {
      const part = rowsOf(x.data, from, rows)
      const { output } = await layer.forward(
        { data: part, shape: [B, rows, E] },
        { runtime: runtime(), causal: true, cache },
      )
      expect(worst(output.data, rowsOf(expected, from, rows))).toBeLessThan(1e-5)
      from += rows
    }
  })
})

/** Rows [from, from + rows) of each batch. */
function rowsOf(data: Float32Array, from: number, rows: number): Float32Array {
  return Float32Array.from(
    Array.from({ length: B }, (_, b) => [...data.subarray((b * M + from) * E, (b * M + from + rows) * E)]).flat(),
  )
}
