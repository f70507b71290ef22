import fc from 'fast-check'
import type { AttentionResult, Tensor } from 'heddle'
import { expect, test } from 'vitest'
import { expectOracle } from '../support/expect-attention.ts'
import { attentionReference } from '../support/oracle.ts'
import type { MathOptions } from '../support/problem.ts'
import { isAllowed, offsetOf } from '../support/score.ts'
import { describeCall, propertySettings, randomCall } from '../support/random-calls.ts'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { fingerprint, normalTensor, shared } from '../support/tensors.ts'

console.info(`property tests: HEDDLE_SEED=${propertySettings.seed}`)

const runtime = useRuntime({ workers: 2 })
const alone = useRuntime({ workers: 0 })
const asked = { returnLogSumExp: true, returnStatistics: true } as const

function bitsOf({ output, logSumExp, statistics }: AttentionResult): string {
  return [output, logSumExp, ...Object.values(statistics ?? {})]
    .map((part: Tensor<Float32Array | Int32Array> | undefined) => (part ? fingerprint(part.data) : ''))
    .join(' ')
}

test(
  'any shape and options: equal to the oracle in both modes',
  async () => {
    await fc.assert(
      fc.asyncProperty(randomCall(), async (call) => {
        await expectOracle(runtime(), call.inputs, { ...call.options, chunkSize: call.chunkSize }).catch(
          (error: unknown) => {
            throw new Error(describeCall(call), { cause: error })
          },
        )
      }),
      propertySettings,
    )
  },
  propertySettings.timeoutMs,
)

test(
  'the same bits for any chunk size, on workers or not, from shared memory or not',
  async () => {
    await fc.assert(
      fc.asyncProperty(randomCall(), fc.integer({ min: 1, max: 200 }), async (call, otherSize) => {
        const { inputs, options, chunkSize } = call
        const inShared = { query: shared(inputs.query), key: shared(inputs.key), value: shared(inputs.value) }
        const first = bitsOf(await alone().attention(inputs, { ...options, ...asked }))
        expect(bitsOf(await runtime().attention(inputs, { ...options, ...asked, chunkSize })), describeCall(call)).toBe(
          first,
        )
        expect(
          bitsOf(await runtime().attention(inShared, { ...options, ...asked, chunkSize: otherSize })),
          describeCall(call),
        ).toBe(first)
      }),
      propertySettings,
    )
  },
  propertySettings.timeoutMs,
)

test(
  'what no query may see does not matter, whatever it holds: the same bits',
  async () => {
    await fc.assert(
      fc.asyncProperty(randomCall(), fc.constantFrom(NaN, Infinity, -Infinity, 1e30, 0), async (call, poison) => {
        const { inputs, options } = call
        const { problem } = attentionReference(inputs, options)
        const { B, H, Hkv, M, N } = problem
        const dirty = { ...inputs, key: copyOf(inputs.key), value: copyOf(inputs.value) }
        for (let b = 0; b < B; b++)
          for (let g = 0; g < Hkv; g++)
            for (let j = 0; j < N; j++) {
              const heads = Array.from({ length: H }, (_, h) => h).filter((h) => Math.floor((h * Hkv) / H) === g)
              const seen = heads.some((h) =>
                Array.from({ length: M }, (_, i) => i).some((i) => isAllowed(problem, b, h, i, j)),
              )
              if (!seen) for (const part of [dirty.key, dirty.value]) fillRow(part, { b, g, j, Hkv, N }, poison)
            }
        const expected = bitsOf(await runtime().attention(inputs, { ...options, ...asked }))
        expect(bitsOf(await runtime().attention(dirty, { ...options, ...asked })), describeCall(call)).toBe(expected)
      }),
      { ...propertySettings, numRuns: propertySettings.numRuns / 4 },
    )
  },
  propertySettings.timeoutMs,
)

function copyOf({ data, shape }: Tensor): Tensor {
  return { data: data.slice(), shape }
}

/** Row j of head g of batch b, in [B, H, N, D] and in [B, N, E]. */
function fillRow(
  { data, shape }: Tensor,
  { b, g, j, Hkv, N }: { b: number; g: number; j: number; Hkv: number; N: number },
  value: number,
): void {
  const isPacked = shape.length === 3
  const size = isPacked ? shape[2]! / Hkv : shape[3]!
  const start = isPacked ? ((b * N + j) * Hkv + g) * size : ((b * Hkv + g) * N + j) * size
  data.fill(value, start, start + size)
}

test(
  'causal: changing keys after a row changes no bit of it',
  async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 2, max: 200 }),
        fc.integer({ min: 1, max: 40 }),
        fc.nat(),
        async (n, D, seed) => {
          const random = new Random(seed)
          const [query, key, value] = [
            normalTensor(random, [n, D]),
            normalTensor(random, [n, D]),
            normalTensor(random, [n, D]),
          ]
          const from = random.integer(1, n - 1)
          const changed = [key, value].map(({ data, shape }) => ({
            data: data.map((x, at) => (at >= from * D ? random.normal() * 100 : x)),
            shape,
          }))
          const before = await runtime().attention({ query, key, value }, { causal: true })
          const after = await runtime().attention({ query, key: changed[0]!, value: changed[1]! }, { causal: true })
          expect(fingerprint(after.output.data.subarray(0, from * D))).toBe(
            fingerprint(before.output.data.subarray(0, from * D)),
          )
          expect(fingerprint(after.output.data)).not.toBe(fingerprint(before.output.data))
        },
      ),
      propertySettings,
    )
  },
  propertySettings.timeoutMs,
)

test(
  'the order of keys does not matter, and that of queries orders the output',
  async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 60 }),
        fc.integer({ min: 1, max: 200 }),
        fc.nat(),
        async (M, N, seed) => {
          const random = new Random(seed)
          const D = random.integer(1, 20)
          const inputs = {
            query: normalTensor(random, [M, D]),
            key: normalTensor(random, [N, D]),
            value: normalTensor(random, [N, D]),
          }
          const { output } = attentionReference(inputs)
          const keyOrder = random.shuffle(Array.from({ length: N }, (_, j) => j))
          const queryOrder = random.shuffle(Array.from({ length: M }, (_, i) => i))
          const shuffled = {
            query: rowsOf(inputs.query, queryOrder),
            key: rowsOf(inputs.key, keyOrder),
            value: rowsOf(inputs.value, keyOrder),
          }
          const result = await runtime().attention(shuffled)
          const back = rowsOf(
            result.output,
            queryOrder.map((_, i) => queryOrder.indexOf(i)),
          )
          expect(back).toMatchOracle(output)
        },
      ),
      propertySettings,
    )
  },
  propertySettings.timeoutMs,
)

function rowsOf({ data, shape }: Tensor, order: readonly number[]): Tensor {
  const size = shape[1]!
  return { data: Float32Array.from(order.flatMap((row) => [...data.subarray(row * size, (row + 1) * size)])), shape }
}

function without(options: MathOptions, names: readonly (keyof MathOptions)[]): MathOptions {
  return Object.fromEntries(Object.entries(options).filter(([name]) => !names.includes(name as keyof MathOptions)))
}

test(
  'adding one number to all scores changes no weight, and adds it to the log-sum-exp',
  async () => {
    await fc.assert(
      fc.asyncProperty(
        randomCall(),
        fc.double({ min: -1e4, max: 1e4, noNaN: true }),
        async ({ inputs, options }, shift) => {
          const rest = without(options, ['bias'])
          const bias = { data: Float32Array.of(shift), shape: [] }
          const reference = attentionReference(inputs, rest)
          const shifted = attentionReference(inputs, { ...rest, bias })
          const result = await runtime().attention(inputs, { ...rest, bias, ...asked })
          expect(result.output).toMatchOracle({ ...reference.output, plain: shifted.output.plain })
          expect(result.logSumExp).toMatchOracle(shifted.logSumExp)
        },
      ),
      propertySettings,
    )
  },
  propertySettings.timeoutMs,
)

test(
  'a chunk knows its place: a slice of the queries with its offset gives that slice of the result',
  async () => {
    await fc.assert(
      fc.asyncProperty(randomCall(), fc.nat(), async (call, cut) => {
        const { B, H, M, query, options } = attentionReference(call.inputs, call.options).problem
        if (call.inputs.query.shape.length !== 4) return
        const from = cut % M
        const size = call.inputs.query.shape[3]!
        const part = Float32Array.from(
          Array.from({ length: B * H }, (_, head) => [
            ...query.subarray((head * M + from) * size, (head + 1) * M * size),
          ]).flat(),
        )
        const rest = without(options, ['mask', 'bias', 'segments', 'dropout']) // these are indexed by row
        const offsets = Int32Array.from({ length: B }, (_, b) => offsetOf({ options } as never, b) + from)
        const whole = attentionReference(call.inputs, rest)
        const sliced = await runtime().attention(
          { ...call.inputs, query: { data: part, shape: [B, H, M - from, size] } },
          { ...rest, queryOffset: offsets },
        )
        const Dv = whole.output.shape.at(-1)!
        const cutRows = (all: Float64Array) =>
          Float64Array.from(
            Array.from({ length: B * H }, (_, head) => [
              ...all.subarray((head * M + from) * Dv, (head + 1) * M * Dv),
            ]).flat(),
          )
        const { exact, plain } = whole.output
        expect(sliced.output).toMatchOracle({
          exact: cutRows(exact),
          plain: cutRows(plain),
          shape: [B, H, M - from, Dv],
        })
      }),
      propertySettings,
    )
  },
  propertySettings.timeoutMs,
)
