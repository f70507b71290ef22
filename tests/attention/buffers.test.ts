import type { AttentionInputs, AttentionOptions, Tensor } from 'heddle'
import { describe, expect, test } from 'vitest'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { bytesOf, fingerprint, integerTensor, maskTensor, normalTensor, product, shared } from '../support/tensors.ts'

const runtimes = { 'on the calling thread': useRuntime({ workers: 0 }), 'on two workers': useRuntime({ workers: 2 }) }
const [B, H, M, N, D] = [2, 2, 40, 50, 8]

function everyInput(): { inputs: AttentionInputs; options: AttentionOptions } {
  const random = new Random(111)
  return {
    inputs: {
      query: normalTensor(random, [B, H, M, D]),
      key: normalTensor(random, [B, H, N, D]),
      value: normalTensor(random, [B, H, N, D]),
    },
    options: {
      mask: maskTensor(random, [B, 1, M, N]),
      bias: normalTensor(random, [H, 1, N]),
      alibiSlopes: Float32Array.of(0.1, 0.2),
      keyLengths: Int32Array.of(50, 44),
      queryOffset: Int32Array.of(3, 9),
      causal: true,
      chunkSize: 8,
      segments: { query: integerTensor(random, [B, M], 2), key: integerTensor(random, [B, N], 2) },
    },
  }
}

/** The array inside a larger buffer, with marks before and behind it. */
function guarded(shape: readonly number[], memory: 'plain' | 'shared'): { tensor: Tensor; intact: () => boolean } {
  const [size, guard] = [product(shape), 16]
  const bytes = (size + 2 * guard) * 4
  const all = new Float32Array(memory === 'shared' ? new SharedArrayBuffer(bytes) : new ArrayBuffer(bytes)).fill(-77.5)
  const intact = () => all.every((x, at) => (at >= guard && at < guard + size) || x === -77.5)
  return { tensor: { data: all.subarray(guard, guard + size), shape }, intact }
}

describe.each(Object.entries(runtimes))('%s', (_, runtime) => {
  test('no input is detached or changed', async () => {
    const { inputs, options } = everyInput()
    const { mask, bias, segments, alibiSlopes, keyLengths, queryOffset } = options
    const tensors = [inputs.query, inputs.key, inputs.value, mask!, bias!, segments!.query, segments!.key].map(
      ({ data }) => data,
    )
    const arrays = [...tensors, alibiSlopes!, keyLengths!, queryOffset as Int32Array]
    const before = arrays.map(bytesOf)
    for (const mode of ['chunked', 'standard'] as const) await runtime().attention(inputs, { ...options, mode })
    expect(arrays.map(bytesOf)).toEqual(before)
    expect(arrays.every(({ buffer }) => buffer.byteLength > 0)).toBe(true)
  })

  test('inputs that begin at the same place of one buffer and end elsewhere are different ones', async () => {
    const all = normalTensor(new Random(113), [600, 16])
    const query = { data: all.data.subarray(0, 64 * 16), shape: [64, 16] }
    const own = { data: query.data.slice(), shape: query.shape }
    // As a query and as keys first: whichever is copied for the lanes first, the other one needs a copy of its own.
    const inputs = [
      { query, key: all, value: all },
      { query: all, key: query, value: query },
    ]
    const expected = [
      { query: own, key: all, value: all },
      { query: all, key: own, value: own },
    ]
    for (const [index, given] of inputs.entries()) {
      const { output } = await runtime().attention(given, { chunkSize: 30 })
      expect(fingerprint(output.data)).toBe(
        fingerprint((await runtime().attention(expected[index]!, { chunkSize: 30 })).output.data),
      )
    }
  })

  test.each(['plain', 'shared'] as const)('out in %s memory: written there, and nowhere else', async (memory) => {
    const { inputs, options } = everyInput()
    const expected = await runtime().attention(inputs, options)
    for (const mode of ['chunked', 'standard'] as const) {
      const { tensor: out, intact } = guarded([B, H, M, D], memory)
      const result = await runtime().attention(inputs, { ...options, mode, out })
      expect(result.output.data).toBe(out.data)
      if (mode === 'chunked') expect(fingerprint(out.data)).toBe(fingerprint(expected.output.data))
      expect(out.data.includes(-77.5)).toBe(false)
      expect(intact()).toBe(true)
    }
  })

  test('the output is shared exactly where the inputs were', async () => {
    const { inputs, options } = everyInput()
    const plain = await runtime().attention(inputs, options)
    expect(plain.output.data.buffer).toBeInstanceOf(ArrayBuffer)
    const inShared = { query: shared(inputs.query), key: shared(inputs.key), value: shared(inputs.value) }
    const result = await runtime().attention(inShared, options)
    expect(result.output.data.buffer).toBeInstanceOf(SharedArrayBuffer)
    expect(fingerprint(result.output.data)).toBe(fingerprint(plain.output.data))
  })

  test('every result of a call is the caller’s: a later call leaves it as it was', async () => {
    const { inputs, options } = everyInput()
    const first = await runtime().attention(inputs, { ...options, returnWeights: true, returnLogSumExp: true })
    const before = [first.output, first.weights, first.logSumExp].map(({ data }) => fingerprint(data))
    const other = { ...inputs, query: normalTensor(new Random(5), [B, H, M, D]) }
    await runtime().attention(other, { ...options, returnWeights: true, returnLogSumExp: true })
    expect([first.output, first.weights, first.logSumExp].map(({ data }) => fingerprint(data))).toEqual(before)
  })

  test('runtime.tensor gives zeros of a shape, in shared memory', () => {
    const made = runtime().tensor([3, 4])
    expect(made.shape).toEqual([3, 4])
    expect([...made.data]).toEqual(Array(12).fill(0))
    expect(made.data.buffer).toBeInstanceOf(SharedArrayBuffer)
  })
})
