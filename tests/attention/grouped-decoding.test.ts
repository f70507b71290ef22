import type { AttentionOptions, Tensor } from 'heddle'
import { describe, expect, it, test } from 'vitest'
import { attentionReference } from '../support/oracle.ts'
import { expectResult } from '../support/expect-attention.ts'
import type { AttentionInputs, MathOptions } from '../support/problem.ts'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { fingerprint, normalTensor } from '../support/tensors.ts'

// One query row per head: lanes join the heads of a group, which share the position, so that keys and values are read
// once.
const pools = {
  'the calling thread': useRuntime({ workers: 0 }),
  'two workers': useRuntime({ workers: 2 }),
  'two workers without shared memory': useRuntime({ workers: 2, sharedMemory: 'never' }),
}

const [B, D, Dv] = [2, 12, 9]

function problem(heads: number, keyValueHeads: number, keys: number): AttentionInputs {
  const random = new Random(heads * 1000 + keys)
  return {
    query: normalTensor(random, [B, heads, 1, D]),
    key: normalTensor(random, [B, keyValueHeads, keys, D]),
    value: normalTensor(random, [B, keyValueHeads, keys, Dv]),
  }
}

/** Keys and values of a head of its own for every query head: nothing to join. */
function ungrouped({ query, key, value }: AttentionInputs): AttentionInputs {
  const heads = query.shape[1]!
  const repeated = ({ data, shape }: Tensor): Tensor => {
    const [, keyHeads = 1, keys = 1, size = 1] = shape
    const all = new Float32Array(B * heads * keys * size)
    for (let head = 0; head < B * heads; head++) {
      const from = (Math.floor(head / heads) * keyHeads + Math.floor(((head % heads) * keyHeads) / heads)) * keys * size
      all.set(data.subarray(from, from + keys * size), head * keys * size)
    }
    return { data: all, shape: [B, heads, keys, size] }
  }
  return { query, key: repeated(key), value: repeated(value) }
}

const bits = (data: Float32Array | Int32Array) => fingerprint(data)

/** With options that each head has for itself, and such as keep heads from being joined. */
const options: Record<string, (random: Random, heads: number, keys: number) => MathOptions> = {
  'no option': () => ({}),
  'causal, another position per batch': (_, __, keys) => ({ causal: true, queryOffset: Int32Array.of(keys - 1, 5) }),
  'causal, before every key': () => ({ causal: true, queryOffset: -1 }),
  'a window that starts inside of a block': (_, __, keys) => ({
    causal: true,
    queryOffset: keys - 2,
    window: { before: 30 },
  }),
  'a window after the position': () => ({ queryOffset: 3, window: { before: 1, after: 17 } }),
  'key lengths': (_, __, keys) => ({ keyLengths: Int32Array.of(keys - 3, 1) }),
  'a mask per head': (random, heads, keys) => ({
    mask: { data: Uint8Array.from({ length: heads * keys }, () => random.integer(0, 1)), shape: [heads, 1, keys] },
  }),
  'a mask for all heads': (random, _, keys) => ({
    mask: { data: Uint8Array.from({ length: keys }, () => random.integer(0, 1)), shape: [1, keys] },
  }),
  'a bias per head': (random, heads, keys) => ({ bias: normalTensor(random, [heads, 1, keys]) }),
  softcap: () => ({ softcap: 2, scale: 3 }),
  segments: (random, _, keys) => {
    const numbers = (count: number) => Int32Array.from({ length: B * count }, () => random.integer(0, 2))
    return { segments: { query: { data: numbers(1), shape: [B, 1] }, key: { data: numbers(keys), shape: [B, keys] } } }
  },
  ALiBi: (_, heads, keys) => ({
    causal: true,
    queryOffset: keys - 1,
    alibiSlopes: Float32Array.from({ length: heads }, (__, head) => (head + 1) / 8),
  }),
  dropout: () => ({ dropout: { probability: 0.4, seed: 6 } }),
}

describe.each(Object.entries(pools))('on %s', (_where, runtime) => {
  describe.each(Object.entries(options))('%s', (_name, make) => {
    it.each([
      [4, 2, 37],
      [3, 1, 300],
      [8, 1, 530],
      [10, 2, 140],
    ])(
      '%i heads over %i key heads, %i keys: the bits of heads that share nothing',
      async (heads, keyValueHeads, keys) => {
        const inputs = problem(heads, keyValueHeads, keys)
        const call = { ...make(new Random(keys), heads, keys), returnLogSumExp: true }
        const found = await runtime().attention(inputs, call)
        const expected = await runtime().attention(ungrouped(inputs), call)
        expect(bits(found.output.data)).toBe(bits(expected.output.data))
        expect(bits(found.logSumExp!.data)).toBe(bits(expected.logSumExp!.data))
        expectResult(found, attentionReference(inputs, call))
      },
    )
  })

  it('keys in several parts that merge, and more heads than a tile has rows', async () => {
    for (const [heads, keyValueHeads, keys] of [
      [6, 2, 9001],
      [70, 1, 90],
    ] as const) {
      const inputs = problem(heads, keyValueHeads, keys)
      for (const call of [{}, { causal: true, queryOffset: keys - 1, window: { before: 50 } }]) {
        const found = await runtime().attention(inputs, { ...call, returnLogSumExp: true })
        const expected = await runtime().attention(ungrouped(inputs), { ...call, returnLogSumExp: true })
        expect(bits(found.output.data)).toBe(bits(expected.output.data))
        expect(bits(found.logSumExp.data)).toBe(bits(expected.logSumExp.data))
      }
    }
  })

  it('NaN and infinities in keys and values, also in masked ones', async () => {
    for (const bad of [NaN, Infinity, -Infinity]) {
      for (const name of ['key', 'value'] as const) {
        const inputs = problem(4, 1, 60)
        inputs[name].data[20 * (name === 'key' ? D : Dv) + 2] = bad
        for (const call of [
          {},
          { causal: true, queryOffset: 19 },
          { causal: true, queryOffset: 59, window: { before: 38 } },
        ]) {
          const found = await runtime().attention(inputs, call)
          expect(bits(found.output.data)).toBe(bits((await runtime().attention(ungrouped(inputs), call)).output.data))
        }
      }
    }
  })
})

test('keys and values are read once per group, not once per head', async () => {
  const inputs = problem(16, 2, 520)
  const tiles = async (call: AttentionInputs, extra: AttentionOptions = {}) =>
    (await pools['the calling thread']().attention(call, extra)).report.tiles
  // Three blocks of 256 keys for each of B·Hkv groups, and for each of B·H heads.
  expect(await tiles(inputs)).toBe(3 * B * 2)
  expect(await tiles(ungrouped(inputs))).toBe(3 * B * 16)
  // Heads with distances of their own are computed one by one.
  expect(await tiles(inputs, { alibiSlopes: new Float32Array(16).fill(0.5) })).toBe(3 * B * 16)
})
