import { HeddleError, mergePartials, type AttentionInputs, type AttentionPartial } from 'heddle'
import { describe, expect, test } from 'vitest'
import { attentionReference } from '../support/oracle.ts'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { filled, fingerprint, normalTensor } from '../support/tensors.ts'

const runtime = useRuntime({ workers: 1 })
const [B, H, M, N, D] = [2, 2, 30, 101, 8]
const random = new Random(151)
const inputs = {
  query: normalTensor(random, [B, H, M, D]),
  key: normalTensor(random, [B, H, N, D]),
  value: normalTensor(random, [B, H, N, 5]),
}

/** Keys [from, to) of a [B, H, N, size] tensor. */
function keysOf({ data, shape }: AttentionInputs['key'], from: number, to: number) {
  const size = shape[3]!
  const heads = Array.from({ length: B * H }, (_, head) => [
    ...data.subarray((head * N + from) * size, (head * N + to) * size),
  ])
  return { data: Float32Array.from(heads.flat()), shape: [B, H, to - from, size] }
}

async function partials(
  bounds: readonly number[],
  options: { causal?: boolean; queryOffset?: number },
): Promise<AttentionPartial[]> {
  return Promise.all(
    bounds.slice(1).map(async (to, at) => {
      const from = bounds[at]!
      const part = { query: inputs.query, key: keysOf(inputs.key, from, to), value: keysOf(inputs.value, from, to) }
      const queryOffset = (options.queryOffset ?? 0) - from
      const { output, logSumExp } = await runtime().attention(part, { ...options, queryOffset, returnLogSumExp: true })
      return { output, logSumExp: logSumExp }
    }),
  )
}

describe('partials over disjoint ranges of keys', () => {
  test.each([[[0, 50, 101]], [[0, 1, 2, 99, 101]], [[0, 101]], [[0, 0, 40, 101]]])(
    'at %j merge into the whole',
    async (bounds) => {
      for (const options of [{}, { causal: true, queryOffset: 71 }, { causal: true, queryOffset: -4 }]) {
        const reference = attentionReference(inputs, options)
        const merged = mergePartials(await partials(bounds, options))
        expect(merged.output).toMatchOracle(reference.output)
        expect(merged.logSumExp).toMatchOracle(reference.logSumExp)
      }
    },
  )

  test('do not change what they are merged from', async () => {
    const parts = await partials([0, 30, 101], {})
    const before = parts.map(({ output, logSumExp }) => fingerprint(output.data) + fingerprint(logSumExp.data))
    mergePartials(parts)
    expect(parts.map(({ output, logSumExp }) => fingerprint(output.data) + fingerprint(logSumExp.data))).toEqual(before)
  })

  test('merge in the packed layout, whose log-sum-exp is [B, H, M]', async () => {
    const packed = normalTensor(random, [1, 9, 12])
    const whole = { query: packed, key: packed, value: packed }
    const reference = attentionReference(whole, { heads: 3 })
    const half = (from: number, to: number) => ({
      data: packed.data.slice(from * 12, to * 12),
      shape: [1, to - from, 12],
    })
    const parts = await Promise.all(
      [
        [0, 4],
        [4, 9],
      ].map(async ([from, to]) => {
        const part = half(from!, to!)
        const { output, logSumExp } = await runtime().attention(
          { query: packed, key: part, value: part },
          { heads: 3, returnLogSumExp: true },
        )
        return { output, logSumExp: logSumExp }
      }),
    )
    const merged = mergePartials(parts)
    expect(merged.output).toMatchOracle(reference.output)
    expect(merged.logSumExp).toMatchOracle(reference.logSumExp)
  })
})

describe('rows', () => {
  const row = (output: readonly number[], logSumExp: number): AttentionPartial => ({
    output: { data: Float32Array.from(output), shape: [1, output.length] },
    logSumExp: { data: Float32Array.of(logSumExp), shape: [1] },
  })

  test('with equal log-sum-exp give the mean, and log 2 more', () => {
    const merged = mergePartials([row([1, 5], 3), row([3, 9], 3)])
    expect([...merged.output.data]).toEqual([2, 7])
    expect(merged.logSumExp.data[0]).toBeCloseTo(3 + Math.log(2), 6)
  })

  test('that are empty in some partials come from the others, bit for bit', () => {
    const merged = mergePartials([row([0, 0], -Infinity), row([0.1, 7], -2.5), row([0, 0], -Infinity)])
    expect([...merged.output.data]).toEqual([...Float32Array.of(0.1, 7)])
    expect([...merged.logSumExp.data]).toEqual([-2.5])
  })

  test('that are empty in all stay empty', () => {
    const merged = mergePartials([row([0, 0], -Infinity), row([0, 0], -Infinity)])
    expect([...merged.output.data, ...merged.logSumExp.data]).toEqual([0, 0, -Infinity])
  })

  test('far apart take the larger; huge ones do not overflow', () => {
    const merged = mergePartials([row([1], 1e4), row([5], -1e4)])
    expect([...merged.output.data, ...merged.logSumExp.data]).toEqual([1, 1e4])
  })

  test('with NaN stay NaN', () => {
    expect(mergePartials([row([NaN], NaN), row([5], 0)]).output.data[0]).toBeNaN()
  })
})

describe('bad partials', () => {
  const good = { output: filled([2, 3], () => 1), logSumExp: filled([2], () => 0) }
  test.each([
    ['none at all', []],
    ['no list', undefined],
    ['null in the list', [null]],
    ['outputs of different shapes', [good, { ...good, output: filled([3, 2], () => 1) }]],
    ['a log-sum-exp that does not fit', [{ ...good, logSumExp: filled([3], () => 0) }]],
    ['no log-sum-exp', [{ output: good.output }]],
    ['data of another type', [{ ...good, output: { data: new Float64Array(6), shape: [2, 3] } }]],
  ])('%s: a typed error', (_, bad) => {
    expect(() => mergePartials(bad as never)).toThrow(HeddleError)
    expect(() => mergePartials(bad as never)).toThrow(/expected .*got /s)
  })
})

test('nothing of a partial that saw no key counts, not even NaN', () => {
  const empty = {
    output: { data: Float32Array.of(NaN, Infinity), shape: [1, 2] },
    logSumExp: { data: Float32Array.of(-Infinity), shape: [1] },
  }
  const full = {
    output: { data: Float32Array.of(3, 4), shape: [1, 2] },
    logSumExp: { data: Float32Array.of(0.5), shape: [1] },
  }
  for (const partials of [
    [empty, full],
    [full, empty],
  ])
    expect([...mergePartials(partials).output.data]).toEqual([3, 4])
  expect([...mergePartials([empty, empty]).output.data]).toEqual([0, 0])
})
